//! The sending side against the real rsync: what a stock client pulls from us, and what we push to
//! a stock server, must be what the stock program does in our place.

mod connect;
mod pull;
mod push;
mod support;
mod trees;
mod trouble;
