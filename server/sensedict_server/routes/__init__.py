"""Routes by subject. Each is synchronous: FastAPI runs it in a thread, and there are as many threads as connections."""
