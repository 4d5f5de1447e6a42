//! The wire protocol against captured sessions of rsync 3.5.0, and its codecs against themselves.

mod captures;
mod decoders;
mod lane;
mod lists;
mod options;
mod properties;
mod purity;
mod replay;
mod session;
