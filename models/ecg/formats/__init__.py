"""One format a file, each with ``matches(data) -> bool`` and ``read(data, stated) -> Recording``."""
