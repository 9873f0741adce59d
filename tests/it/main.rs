//! End to end, through the built binary and real sockets.
