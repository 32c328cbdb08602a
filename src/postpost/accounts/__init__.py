"""Accounts: who a caller is, what its plan grants, how much of it is used."""
