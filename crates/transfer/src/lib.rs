//! The roles of a transfer: what a sender does with a session, a list and a disk.
