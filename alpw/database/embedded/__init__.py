"""The embedded database: MongoDB's wire protocol in front of mongomock and a SQLite file.

For one machine, for trying ALPW out and for tests; not for production. mongomock does the querying,
updating and aggregating; what it lacks or gets wrong is refused with MongoDB's error.
"""
