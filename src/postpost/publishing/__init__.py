"""The engine: dispatcher, publisher, durable steps, retry and the worker that runs them."""
