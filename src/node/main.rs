//! burst-node.
fn main() {}
