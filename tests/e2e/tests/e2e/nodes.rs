//! Instances with a trouble of their own: no munge, a lost answer.

use crate::help::*;
use burst_e2e::{Cluster, User};
use serde_json::json;

const SCRIPT: &str = "srun printenv SLURMD_NODENAME";

/// The first instance that starts finds no munged; the others are as usual.
const FIRST_WITHOUT_MUNGE: &str = r#"d=${SLURM_CONF%/etc/slurm.conf}
if mkdir "$d/sim/first" 2>/dev/null; then
  sed 's#munge/socket#munge/not-running#' "$d/etc/burst-node.json" > "$d/sim/first/burst-node.json"
  export BURST_NODE_CONFIG="$d/sim/first/burst-node.json"
fi
exec "$d/bin/burst-node""#;

#[test]
fn munge_down_on_a_node_costs_that_node_and_not_the_job() {
    let spec = spec("munge")
        .pool("boot_limit = \"40s\"")
        .simulator(&json!({"instance_command": ["/bin/sh", "-c", FIRST_WITHOUT_MUNGE]}));
    let c = Cluster::start(spec).unwrap();
    let job = submit(&c, 4, &[], SCRIPT);
    ran(&c, job, 4);
    assert!(c.at.file("sim/first/burst-node.json").exists(), "one instance had no munge");
    let told: String = std::fs::read_dir(c.at.file("sim/instances"))
        .unwrap()
        .flatten()
        .map(|e| std::fs::read_to_string(e.path()).unwrap_or_default())
        .collect();
    assert!(told.contains("munge makes no credential"), "the instance's console says why: {told}");
    let state = c.sim.as_ref().unwrap().state().unwrap();
    assert!(state["instances"].as_array().unwrap().len() > 4, "somebody took its place: {state}");
    finish(c);
}

#[test]
fn law2_a_lost_bootstrap_answer_changes_nothing() {
    let mut spec = spec("lost-bootstrap");
    spec.node_relay = true;
    let c = Cluster::start(spec).unwrap();
    let relay = c.node_relay.as_ref().unwrap();
    relay.lose("\"start\":true", 3);
    let job = submit(&c, 4, &[], SCRIPT);
    ran(&c, job, 4);
    assert_eq!(relay.lost(), 3, "three nodes had to ask again");
    assert_eq!(asked(&c, "CreateFleet").iter().filter(|v| v["done"] == true).count(), 1);
    let all = c.sim.as_ref().unwrap().state().unwrap()["instances"].as_array().unwrap().len();
    assert_eq!(all, 4, "nobody was replaced");
    finish(c);
}

#[test]
fn a_name_of_a_gang_is_not_given_to_another_instance() {
    let c = cluster("stranger");
    let job = submit(&c, 2, &[], &format!("{SCRIPT}; sleep 15"));
    c.wait_job(job, "RUNNING", S).unwrap();
    let view = c.explain(job).unwrap();
    let known = view["instances"][0]["id"].as_str().unwrap().to_owned();
    let ask = |user: User, payload: &serde_json::Value| -> (u16, String) {
        let socket = format!("--socket={}", c.at.munge_socket().display());
        let made = c.run(user, "munge", &[&socket], &payload.to_string()).unwrap();
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let url = format!("http://127.0.0.1:{}/v1/bootstrap", c.at.controller_port());
        let mut answer = agent.post(&url).header("Content-Type", "text/plain").send(made.out.trim()).unwrap();
        (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
    };
    let of = |id: &str, ip: &str| json!({"v": 1, "instance_id": id, "private_ip": ip});
    // An ordinary user on a node may not ask at all, another address is not believed, a stranger gets no name (for its
    // first half minute the controller asks it to wait: an answer may still be on its way to the journal).
    assert_eq!(ask(User::Ordinary, &of(&known, "127.0.0.1")).0, 403);
    let elsewhere = ask(User::Root, &of(&known, "10.9.9.9"));
    assert_eq!(elsewhere.0, 409, "{elsewhere:?}");
    let stranger = ask(User::Root, &of("i-0stranger", "127.0.0.1"));
    assert!([202, 410].contains(&stranger.0) && !stranger.1.contains("efa"), "{stranger:?}");
    ran(&c, job, 2);
    finish(c);
}
