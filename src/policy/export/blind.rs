//! Lives without what names people, projects and machines: replaced by a keyed hash, so that the same name gives the same
//! word at one site and nobody without the key can try names out.

use crate::life::Life;
use burst_plan::{Geometry, Request};
use sha2::{Digest, Sha256};

/// Length of a site's key.
pub const KEY_BYTES: usize = 32;

/// SHA-256's block (FIPS 180-4).
const BLOCK: usize = 64;

/// Replaces names by words of a key.
#[derive(Clone)]
pub struct Blind {
    key: [u8; KEY_BYTES],
}

/// Hides its key.
impl std::fmt::Debug for Blind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Blind")
    }
}

impl Blind {
    /// With a site's key.
    #[must_use]
    pub fn new(key: [u8; KEY_BYTES]) -> Self {
        Self { key }
    }

    /// HMAC-SHA-256 (RFC 2104); a key of 32 bytes is shorter than a block and is not hashed first.
    fn mac(&self, text: &[u8]) -> [u8; 32] {
        let pad = |byte: u8| {
            let mut block = [byte; BLOCK];
            for (b, k) in block.iter_mut().zip(self.key) {
                *b ^= k;
            }
            block
        };
        let inner = Sha256::new().chain_update(pad(0x36)).chain_update(text).finalize();
        Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().into()
    }

    /// `u-0123456789ab` for a user's name: the same for the same kind and name. Nothing stays nothing.
    #[must_use]
    pub fn word(&self, kind: &str, name: &str) -> String {
        if name.is_empty() {
            return String::new();
        }
        let mac = self.mac(format!("{kind}\0{name}").as_bytes());
        let hex: String = mac.iter().take(6).map(|b| format!("{b:02x}")).collect();
        format!("{kind}-{hex}")
    }

    /// A life with words in place of: user, account, job, job name, gang, partition, pool, nodes, instances. Taken out:
    /// uid, texts of errors, flags and plans, subnets and wishes. What stays: times, figures, region, zones, types.
    #[must_use]
    pub fn life(&self, life: &Life) -> Life {
        let mut out = life.clone();
        out.text = self.word("j", &life.text);
        out.job = 0;
        out.array_task = None;
        out.uid = 0;
        out.name = self.word("n", &life.name);
        out.user = self.word("u", &life.user);
        out.account = self.word("a", &life.account);
        out.gang = self.word("g", &life.gang);
        out.partition = self.word("p", &life.partition);
        out.pool = self.word("q", &life.pool);
        out.geometry = self.geometry(&life.geometry);
        out.request = Request { pool: None, ..life.request.clone() };
        if let Some(plan) = &mut out.plan {
            plan.ignored.clear();
        }
        out.promises.clear();
        out.slurm.nodes.clear();
        // Licences have names.
        out.slurm.tres = None;
        out.trouble = life.trouble.as_ref().map(|_| "withheld".to_owned());
        out.cost.prices.clear();
        out.cost.missing = life.cost.missing.iter().map(|_| "withheld".to_owned()).collect();
        for i in &mut out.instances {
            i.id = self.word("i", &i.id);
            i.node = self.word("h", &i.node);
            i.why = if i.why.is_empty() { String::new() } else { "withheld".into() };
        }
        for node in &mut out.missing {
            *node = self.word("h", node);
        }
        for r in &mut out.reports {
            r.job = 0;
            r.node = self.word("h", &r.node);
            r.instance = r.instance.as_ref().map(|i| self.word("i", i));
            for step in &mut r.steps {
                step.flags = step.flags.iter().map(|_| "withheld".to_owned()).collect();
            }
        }
        out
    }

    fn geometry(&self, g: &Geometry) -> Geometry {
        Geometry {
            partition: self.word("p", &g.partition),
            account: self.word("a", &g.account),
            name: self.word("n", &g.name),
            qos: String::new(),
            features: None,
            dependency: None,
            array: None,
            uid: 0,
            ..g.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::life::{Cost, Ran, SlurmFacts};
    use burst_plan::{
        Plan,
        report::{NodeReport, StepReport},
    };

    #[test]
    fn the_hash_is_hmac_sha_256() {
        // Python's hmac.new(bytes(range(32)), b"u\0alice", "sha256").
        let mut key = [0u8; KEY_BYTES];
        for (i, b) in key.iter_mut().enumerate() {
            *b = u8::try_from(i).expect("32 bytes");
        }
        assert_eq!(Blind::new(key).word("u", "alice"), EXPECTED);
    }

    const EXPECTED: &str = "u-73ae174804da";

    #[test]
    fn words_are_stable_apart_by_kind_and_useless_without_the_key() {
        let (a, b) = (Blind::new([1; KEY_BYTES]), Blind::new([2; KEY_BYTES]));
        assert_eq!(a.word("u", "alice"), a.word("u", "alice"));
        assert_ne!(a.word("u", "alice"), a.word("u", "bob"));
        assert_ne!(a.word("u", "x")[2..], a.word("a", "x")[2..]);
        assert_ne!(a.word("u", "alice"), b.word("u", "alice"));
        assert_eq!(a.word("u", ""), "");
        assert_eq!(format!("{a:?}"), "Blind");
    }

    /// Every text of a life is a secret here; none may be left.
    #[test]
    fn nothing_that_names_anybody_is_left() {
        let s = |t: &str| format!("SECRET-{t}");
        let geometry = Geometry {
            partition: s("partition"),
            account: s("account"),
            qos: s("qos"),
            name: s("name"),
            features: Some(s("features")),
            dependency: Some(s("dependency")),
            array: Some(s("array")),
            uid: 424_242,
            ..Geometry::default()
        };
        let life = Life {
            job: 424_242,
            text: "424242_7".into(),
            name: s("name"),
            user: s("user"),
            uid: 424_242,
            account: s("account"),
            partition: s("partition"),
            pool: s("pool"),
            gang: s("gang"),
            array_task: Some(424_242),
            region: "us-east-2".into(),
            geometry,
            request: Request { pool: Some(s("pool")), ..Request::default() },
            promises: vec![crate::asbb::Promise {
                transaction: s("transaction"),
                shape: crate::asbb::Shape::default(),
                at_ms: 0,
            }],
            plan: Some(Plan { ignored: vec![s("ignored")], ..Plan::default() }),
            slurm: SlurmFacts {
                nodes: s("nodes"),
                tres: Some(s("tres")),
                end: Some(9),
                ..SlurmFacts::default()
            },
            instances: vec![Ran { id: s("id"), node: s("node"), why: s("why"), ..Ran::default() }],
            reports: vec![NodeReport {
                job: 424_242,
                node: s("node"),
                instance: Some(s("id")),
                steps: vec![StepReport { flags: vec![s("flag")], ..StepReport::default() }],
                ..NodeReport::default()
            }],
            missing: vec![s("node")],
            cost: Cost { missing: vec![s("cost")], prices: s("prices"), ..Cost::default() },
            trouble: Some(s("trouble")),
            ..Life::default()
        };
        let out = Blind::new([7; KEY_BYTES]).life(&life);
        let text = serde_json::to_string(&out).expect("serialises");
        assert!(!text.contains("SECRET") && !text.contains("424242"), "{text}");
        assert_eq!((out.slurm.end, out.region.as_str()), (Some(9), "us-east-2"));
        // What belongs together still does.
        assert_eq!(out.reports[0].node, out.instances[0].node);
        assert_eq!(out.reports[0].instance.as_deref(), Some(out.instances[0].id.as_str()));
        assert_eq!(out.account, out.geometry.account);
    }
}
