//! Who people are, as far as the controller's own passwd file tells: no network from inside slurmctld.

use burst_policy::Config;

fn passwd() -> String {
    std::fs::read_to_string("/etc/passwd").unwrap_or_default()
}

/// uids of `operators`: numbers as they are, names by the passwd file.
#[must_use]
pub fn operators(config: &Config) -> Vec<u32> {
    let passwd = passwd();
    let by_name = |name: &str| {
        passwd.lines().find_map(|l| {
            let mut f = l.split(':');
            (f.next() == Some(name)).then(|| f.nth(1)?.parse().ok())?
        })
    };
    config.cluster.operators.iter().filter_map(|o| o.parse().ok().or_else(|| by_name(o))).collect()
}

/// `alice (uid 1000)`, or `uid 1000` where the passwd file has no name for it.
#[must_use]
pub fn who(uid: u32) -> String {
    named(&passwd(), uid).map_or_else(|| format!("uid {uid}"), |name| format!("{name} (uid {uid})"))
}

fn named(passwd: &str, uid: u32) -> Option<&str> {
    passwd.lines().find_map(|l| {
        let mut f = l.split(':');
        let name = f.next()?;
        (f.nth(1)?.parse() == Ok(uid)).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_passwd_file() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nbroken\nalice:x:1000:1000::/home/alice:/bin/sh\n";
        assert_eq!(
            (named(passwd, 0), named(passwd, 1000), named(passwd, 7)),
            (Some("root"), Some("alice"), None)
        );
    }
}
