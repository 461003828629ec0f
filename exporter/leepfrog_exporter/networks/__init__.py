"""Building, loading, fusing and tracing of torch networks. The only subpackage that imports torch and its libraries."""
