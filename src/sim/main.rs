//! burst-ec2sim.
fn main() {}
