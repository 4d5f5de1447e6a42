//! The sender's side of a session: lists out, requests in, answers out.

pub(crate) mod answer;
pub(crate) mod attrs;
pub(crate) mod ids;
mod incoming;
pub(crate) mod lists;
mod messages;
pub(crate) mod partial;
mod requests;
pub(crate) mod role;
mod scan;
pub(crate) mod session;
pub(crate) mod walk;

pub(crate) use scan::state::describe as described;
