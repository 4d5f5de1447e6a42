//! The sender's side of a session: lists out, requests in, answers out.

pub(crate) mod answer;
pub(crate) mod ids;
pub(crate) mod lists;
mod messages;
pub(crate) mod partial;
pub(crate) mod role;
mod scan;
pub(crate) mod session;
pub(crate) mod walk;
