//! The cost guard: the most a launch can cost (law 7).
