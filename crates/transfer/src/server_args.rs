//! The arguments that the server of a push gets. Protocol reference, "Remote-shell command line"
//! and "Daemon argument list".
