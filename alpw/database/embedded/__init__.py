"""The embedded database: MongoDB's wire protocol in front of documents in memory and a SQLite file.

For one machine, for trying ALPW out and for tests; not for production. Queries and updates follow
MongoDB 6.0 or are refused with MongoDB's error; aggregation expressions are evaluated by mongomock.
"""
