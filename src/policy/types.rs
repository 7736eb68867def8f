//! What is known about instance types.
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One network card (EC2 `NetworkInfo.NetworkCards[]`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// `NetworkCardIndex`.
    pub index: u32,
    /// Interfaces it takes (`MaximumNetworkInterfaces`).
    pub interfaces: u32,
    /// Whether an EFA (`efa` or `efa-only`) may sit on it.
    pub efa: bool,
}

/// Facts of one type (EC2 `DescribeInstanceTypes`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypeFacts {
    /// `hpc7a.96xlarge`.
    pub name: String,
    /// Virtual CPUs (`VCpuInfo.DefaultVCpus`).
    pub vcpus: u32,
    /// Physical cores (`VCpuInfo.DefaultCores`).
    pub cores: u32,
    /// MiB (`MemoryInfo.SizeInMiB`).
    pub memory_mib: u64,
    /// GPUs, 0 where none.
    pub gpus: u32,
    /// EFA interfaces it takes (`EfaInfo.MaximumEfaInterfaces`), 0 where none.
    pub efa_max: u32,
    /// Network cards by index.
    pub cards: Vec<Card>,
    /// On-demand supported.
    pub on_demand: bool,
    /// Spot supported.
    pub spot: bool,
}

/// Facts by type name: built-in ones, overlaid with what EC2 says and the site's own figures.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TypeBook(pub BTreeMap<String, TypeFacts>);

/// One line a type; see the file's first line.
const BUILTIN: &str = include_str!("types.tsv");

fn line(text: &str) -> Option<TypeFacts> {
    let mut f = text.split_whitespace();
    let name = f.next()?.to_owned();
    let mut number = || f.next()?.parse::<u64>().ok();
    let (vcpus, cores, memory_mib, gpus, efa) = (number()?, number()?, number()?, number()?, number()?);
    let small = |n: u64| u32::try_from(n).ok();
    let (markets, cards) = (f.next()?, f.next()?);
    let card = |c: &str| {
        let (index, rest) = c.split_once(':')?;
        let interfaces = rest.trim_end_matches('e').parse().ok()?;
        Some(Card { index: index.parse().ok()?, interfaces, efa: rest.ends_with('e') })
    };
    Some(TypeFacts {
        name,
        vcpus: small(vcpus)?,
        cores: small(cores)?,
        memory_mib,
        gpus: small(gpus)?,
        efa_max: small(efa)?,
        cards: cards.split('|').map(card).collect::<Option<_>>()?,
        on_demand: markets.contains('o'),
        spot: markets.contains('s'),
    })
}

impl TypeBook {
    /// The EFA types the crate was made with, and a few without EFA (source: EC2 DescribeInstanceTypes).
    #[must_use]
    pub fn builtin() -> Self {
        let rows = BUILTIN.lines().filter(|l| !l.starts_with('#')).filter_map(line);
        Self(rows.map(|t| (t.name.clone(), t)).collect())
    }

    /// Facts of a type.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&TypeFacts> {
        self.0.get(name)
    }

    /// Takes facts in, over what was known of the type: what EC2 says itself beats what the crate was made with.
    pub fn overlay(&mut self, facts: impl IntoIterator<Item = TypeFacts>) {
        self.0.extend(facts.into_iter().map(|t| (t.name.clone(), t)));
    }

    /// A known name for one that does not exist: the size of its family that begins most like it, else a near name.
    #[must_use]
    pub fn suggest(&self, name: &str) -> Option<&str> {
        let alike = |k: &&str| k.bytes().zip(name.bytes()).take_while(|(a, b)| a == b).count();
        let size = self.family(name).into_iter().max_by_key(alike);
        size.or_else(|| self.0.keys().map(String::as_str).find(|k| burst_plan::near(k, name)))
    }

    /// Known sizes of the same family, for a name that does not exist (`hpc7a.2xlarge`).
    #[must_use]
    pub fn family(&self, name: &str) -> Vec<&str> {
        let family = name.split('.').next().unwrap_or("");
        self.0.keys().map(String::as_str).filter(|k| k.split('.').next() == Some(family)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_builtin_line_reads_and_traps_are_known() {
        let book = TypeBook::builtin();
        assert_eq!(book.0.len(), BUILTIN.lines().filter(|l| !l.starts_with('#')).count());
        let p6 = book.get("p6-b300.48xlarge").expect("known");
        assert!(!p6.cards[0].efa && p6.cards[1].efa, "card 0 has no EFA");
        let hpc = book.get("hpc7a.96xlarge").expect("known");
        assert_eq!((hpc.cores, hpc.efa_max, hpc.spot), (192, 2, false));
        assert_eq!(book.get("m5.xlarge").expect("known").efa_max, 0);
        assert_eq!(book.suggest("hpc7a.97xlarge"), Some("hpc7a.96xlarge"));
        assert_eq!(book.suggest("hpc7a.2xlarge").and_then(|n| n.split('.').next()), Some("hpc7a"));
        assert_eq!(book.suggest("zz9.large"), None);
        assert_eq!(book.suggest("m5x.xlarge").and_then(|n| n.split('.').next()), Some("m5"));
        let mut book = book;
        let told = TypeFacts { cores: 95, ..book.get("hpc7a.96xlarge").expect("known").clone() };
        let new = TypeFacts { name: "hpc9z.96xlarge".into(), ..told.clone() };
        let before = book.0.len();
        book.overlay([told, new]);
        assert_eq!((book.0.len(), book.get("hpc7a.96xlarge").expect("known").cores), (before + 1, 95));
        assert!(book.get("hpc7a.2xlarge").is_none() && book.family("hpc7a.2xlarge").len() == 4);
    }
}
