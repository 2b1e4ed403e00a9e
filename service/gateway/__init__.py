"""The wire: HTTP in front of the catalog. The only package that knows status codes."""
