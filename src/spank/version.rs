//! Slurm's version as the build script wrote it.

/// `str::parse` is not const.
pub const fn decimal(text: &str) -> u32 {
    let mut rest = text.as_bytes();
    let mut number = 0;
    while let [digit, tail @ ..] = rest {
        assert!(digit.is_ascii_digit(), "the build script writes digits only");
        number = number * 10 + (*digit - b'0') as u32;
        rest = tail;
    }
    number
}
