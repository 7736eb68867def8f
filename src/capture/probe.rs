//! Readers of the kernel's files. Each takes the root of the file system and answers None for what is not there.

pub mod cgroup;
pub mod efa;
pub mod net;
pub mod proc;
