//! Handshakes and negotiation.
