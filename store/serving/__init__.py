"""A store that others read while one process owns it: that process answers their SELECTs on a Unix socket.

DuckDB has a client and server of its own, the extension quack. It is downloaded when it is first used and listens on a
TCP port, to which every user of the machine can connect; here nothing is downloaded, and a socket is a file of its
owner's.
"""
