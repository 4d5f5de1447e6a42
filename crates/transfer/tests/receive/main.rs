//! The receiving side against the real rsync: pulls from its server, pushes of its client, and
//! peers that mean harm.

mod any_stream;
mod corpus;
mod daemon;
mod fake;
mod hostile;
mod interrupted;
mod meanwhile;
mod options;
mod script;
mod support;
