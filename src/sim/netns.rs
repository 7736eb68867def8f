//! A network namespace and an address for each instance, joined by one bridge.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// The bridge, and what hangs on it. Names carry this process's id, and only these are ever removed.
#[derive(Debug)]
pub struct Netns {
    prefix: String,
    bridge: String,
    made: Mutex<BTreeSet<u64>>,
}

fn ip(args: &[&str]) -> Result<(), String> {
    let out = Command::new("ip")
        .args(args)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("cannot run ip: {e}"))?;
    if out.status.success() {
        return Ok(());
    }
    Err(format!("ip {}: {}", args.join(" "), String::from_utf8_lossy(&out.stderr).trim()))
}

fn ip_batch(args: &[&str], lines: &str) -> Result<(), String> {
    let failed = |e: std::io::Error| format!("cannot run ip: {e}");
    let mut child = Command::new("ip")
        .args(args)
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(lines.as_bytes()).map_err(failed)?;
    }
    let out = child.wait_with_output().map_err(failed)?;
    if out.status.success() {
        return Ok(());
    }
    Err(format!("ip -batch: {}", String::from_utf8_lossy(&out.stderr).trim()))
}

impl Netns {
    /// Makes the bridge. Fails when this host already has addresses of that network.
    pub fn new(prefix: &str) -> Result<Self, String> {
        let taken = Command::new("ip")
            .args(["-4", "-o", "addr"])
            .output()
            .map_err(|e| format!("cannot run ip: {e}"))?;
        if String::from_utf8_lossy(&taken.stdout).contains(&format!(" {prefix}.")) {
            return Err(format!(
                "this host already has an address in {prefix}.0.0/16 (another simulator?): set netns_prefix to another one"
            ));
        }
        let n = Self {
            prefix: prefix.to_owned(),
            bridge: format!("bsb{:x}", std::process::id()),
            made: Mutex::new(BTreeSet::new()),
        };
        ip(&["link", "add", &n.bridge, "type", "bridge"])?;
        let up = ip(&["addr", "add", &format!("{}/16", n.gateway()), "dev", &n.bridge])
            .and_then(|()| ip(&["link", "set", &n.bridge, "up"]));
        if let Err(e) = up {
            n.remove_all();
            return Err(e);
        }
        Ok(n)
    }

    /// The bridge's address: this host, as instances see it.
    pub fn gateway(&self) -> String {
        format!("{}.0.1", self.prefix)
    }

    /// An instance's address.
    pub fn address(&self, seq: u64) -> String {
        let host = 10 + seq % 62_000;
        format!("{}.{}.{}", self.prefix, host / 250, host % 250 + 1)
    }

    fn name(seq: u64) -> String {
        format!("burstsim-{}-{seq}", std::process::id())
    }

    fn link(seq: u64) -> String {
        format!("bv{:x}x{:x}", std::process::id(), seq % 62_000)
    }

    /// Makes an instance's namespace, and says where it is.
    pub fn create(&self, seq: u64) -> Result<String, String> {
        let (name, link) = (Self::name(seq), Self::link(seq));
        self.made.lock().unwrap_or_else(PoisonError::into_inner).insert(seq);
        ip(&["netns", "add", &name])?;
        ip_batch(
            &[],
            &format!(
                "link add {link} type veth peer name eth0 netns {name}\nlink set {link} master {} up\n",
                self.bridge
            ),
        )?;
        ip_batch(
            &["-n", &name],
            &format!(
                "link set lo up\naddr add {}/16 dev eth0\nlink set eth0 up\nroute add default via {}\n",
                self.address(seq),
                self.gateway()
            ),
        )?;
        Ok(format!("/run/netns/{name}"))
    }

    /// Removes an instance's namespace; its link goes with it.
    pub fn remove(&self, seq: u64) {
        if self.made.lock().unwrap_or_else(PoisonError::into_inner).remove(&seq) {
            let _ = ip(&["link", "del", &Self::link(seq)]);
            if let Err(e) = ip(&["netns", "del", &Self::name(seq)]) {
                eprintln!("burst-ec2sim: {e}");
            }
        }
    }

    /// Removes everything that was made.
    pub fn remove_all(&self) {
        let left: Vec<u64> =
            self.made.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect();
        left.into_iter().for_each(|seq| self.remove(seq));
        if let Err(e) = ip(&["link", "del", &self.bridge]) {
            eprintln!("burst-ec2sim: {e}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_do_not_collide_and_names_fit() {
        let n = Netns { prefix: "10.200".into(), bridge: String::new(), made: Mutex::default() };
        let all: BTreeSet<String> = (0..62_000).map(|s| n.address(s)).collect();
        assert_eq!(all.len(), 62_000);
        assert!(!all.contains(&n.gateway()) && all.iter().all(|a| !a.contains("256") && !a.ends_with(".0")));
        assert!(Netns::link(u64::MAX).len() <= 15);
    }
}
