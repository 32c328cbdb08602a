"""What every route shares: reading requests, rendering answers and errors, describing the API."""
