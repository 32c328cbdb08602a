"""The ASGI application: where routes, services and the database are put together."""
