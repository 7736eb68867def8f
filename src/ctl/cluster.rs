//! What slurm.conf says about the controller and partitions.

use crate::slurmconf::SlurmConf;

/// Addresses of slurmctld, the primary first: `SlurmctldHost=name(address)`.
pub fn controllers(conf: &SlurmConf) -> Vec<String> {
    let mut hosts = Vec::new();
    for (_, v) in conf.lines().filter_map(|l| l.first()).filter(|(k, _)| k == "slurmctldhost") {
        let (name, address) = v.split_once('(').unwrap_or((v, ""));
        let address = address.trim_end_matches(')');
        hosts.push(if address.is_empty() { name } else { address }.to_owned());
    }
    hosts
}

/// The partition of jobs that name none.
pub fn default_partition(conf: &SlurmConf) -> Option<&str> {
    let is_default =
        |l: &&[(String, String)]| l.iter().any(|(k, v)| k == "default" && v.eq_ignore_ascii_case("yes"));
    let (k, name) = conf.lines().filter(partition).find(is_default)?.first()?;
    Some(name).filter(|_| k == "partitionname").map(String::as_str)
}

fn partition(line: &&[(String, String)]) -> bool {
    line.first().is_some_and(|(k, _)| k == "partitionname")
}

/// A partition's value of `key`, which an earlier `PartitionName=DEFAULT` line may give.
pub fn of_partition<'a>(conf: &'a SlurmConf, name: &str, key: &str) -> Option<&'a str> {
    let mut default = None;
    for line in conf.lines().filter(partition) {
        let found = line.iter().find(|(k, _)| k.eq_ignore_ascii_case(key)).map(|(_, v)| v.as_str());
        let names = line.first().map_or("", |(_, v)| v);
        if names.eq_ignore_ascii_case("DEFAULT") {
            default = found.or(default);
        } else if names.split(',').any(|one| one == name) {
            return found.or(default);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_inherit_from_default_lines() {
        let conf = SlurmConf::parse(
            "PartitionName=DEFAULT DefaultTime=10\nPartitionName=efa Nodes=x MaxTime=2:00:00\n\
             PartitionName=cpu DEFAULT=YES DefaultTime=5\n",
        );
        assert_eq!(of_partition(&conf, "efa", "maxtime"), Some("2:00:00"));
        assert_eq!(of_partition(&conf, "efa", "DefaultTime"), Some("10"));
        assert_eq!(of_partition(&conf, "cpu", "DefaultTime"), Some("5"));
        assert_eq!(of_partition(&conf, "gpu", "DefaultTime"), None);
        assert_eq!(default_partition(&conf), Some("cpu"));
        assert_eq!(default_partition(&SlurmConf::default()), None);
    }
}
