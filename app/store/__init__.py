"""The store: the only place where something that was accepted lives. SQLite by default, PostgreSQL by URL."""

from app.store.engine import Store, StoreUnavailable

__all__ = ["Store", "StoreUnavailable"]
