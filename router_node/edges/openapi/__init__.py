"""The HTTP API as an OpenAPI 3.1 document: a file for each noun, beside the routes it describes."""
