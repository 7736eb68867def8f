//! The kernel's files, made by hand.
// clippy.toml frees test functions only; these are their helpers.
#![allow(missing_docs, clippy::unwrap_used)]

mod world;

use burst_capture::{
    mpi::{self, Environment},
    probe::{
        cgroup::{Group, Used},
        efa, net,
        proc::{self, Io},
    },
    sampler::Seen,
    step::{Rusage, Size, Step, name},
};
use burst_plan::report::{EfaReport, ExitReport, NicReport};
use world::World;

const V2: &str = "sys/fs/cgroup/system.slice/slurmstepd.scope/job_5/step_0/user";

#[test]
fn a_step_s_group_version_2() {
    let w = World::new();
    w.put("proc/100/cgroup", "0::/system.slice/slurmstepd.scope/job_5/step_0/user/task_0\n");
    w.put(
        &format!("{V2}/cpu.stat"),
        "usage_usec 5000000\nuser_usec 4000000\nsystem_usec 1000000\nnr_periods 0\n",
    );
    w.put(&format!("{V2}/memory.peak"), "123456789\n");
    w.put(
        &format!("{V2}/io.stat"),
        "259:0 rbytes=10 wbytes=20 rios=1 wios=1\n8:0 rbytes=1 wbytes=2 rios=0 wios=0\n",
    );
    let used = Group::of(w.root(), 100).unwrap().used().unwrap();
    let wanted = Used {
        version: 2,
        cpu_user_us: Some(4_000_000),
        cpu_system_us: Some(1_000_000),
        peak_memory_bytes: Some(123_456_789),
        read_bytes: Some(11),
        write_bytes: Some(22),
    };
    assert_eq!(used, wanted);
    std::fs::remove_dir_all(w.root().join("sys")).unwrap();
    assert_eq!(Group::of(w.root(), 100), None, "a group that is gone");
}

#[test]
fn a_step_s_group_version_1() {
    let w = World::new();
    w.put(
        "proc/100/cgroup",
        "11:blkio:/system.slice\n4:memory:/slurm/uid_1000/job_5/step_batch/task_0\n\
         3:cpu,cpuacct:/slurm/uid_1000/job_5/step_batch\n1:name=systemd:/system.slice/slurmd.service\n",
    );
    let base = "slurm/uid_1000/job_5/step_batch";
    w.put(&format!("sys/fs/cgroup/memory/{base}/memory.max_usage_in_bytes"), "5000\n");
    w.put(&format!("sys/fs/cgroup/cpu,cpuacct/{base}/cpuacct.usage_user"), "7000000\n");
    w.put(&format!("sys/fs/cgroup/cpu,cpuacct/{base}/cpuacct.usage_sys"), "2000000\n");
    let used = Group::of(w.root(), 100).unwrap().used().unwrap();
    let wanted = Used {
        version: 1,
        cpu_user_us: Some(7_000),
        cpu_system_us: Some(2_000),
        peak_memory_bytes: Some(5_000),
        ..Used::default()
    };
    assert_eq!(used, wanted);
}

#[test]
fn the_daemon_s_own_group_is_no_step_s() {
    let w = World::new();
    for line in ["0::/system.slice/slurmd.service", "0::/", "0::/../../job_1/step_0", "", "garbage", "3:cpu"]
    {
        w.put("proc/100/cgroup", &format!("{line}\n"));
        w.put("sys/fs/cgroup/system.slice/slurmd.service/cpu.stat", "user_usec 1\nsystem_usec 1\n");
        assert_eq!(Group::of(w.root(), 100), None, "{line}");
    }
}

#[test]
fn processes_and_their_memory() {
    let w = World::new();
    w.process("100", "101 102", 10);
    w.put("proc/100/task/150/children", "103\n");
    w.process("101", "", 1_000);
    w.process("102", "104", 2_000);
    w.process("103", "", 3_000);
    w.process("104", "", 4_000);
    let mut all = proc::descendants(w.root(), "100");
    assert_eq!(all.last(), Some(&104), "the deepest comes last");
    all.sort_unstable();
    assert_eq!(all, [101, 102, 103, 104]);
    let sum: u64 = all.iter().filter_map(|p| proc::peak_memory(w.root(), *p)).sum();
    assert_eq!(sum, 10_000 * 1024);
    w.put("proc/104/status", "Name:\tzombie\nState:\tZ\n");
    assert_eq!(proc::peak_memory(w.root(), 104), None);
    assert_eq!(proc::peak_memory(w.root(), 999), None);
    w.process("104", "100", 1);
    assert!(proc::descendants(w.root(), "100").len() <= 5_000, "a circle ends");
}

#[test]
fn what_reaped_children_moved() {
    let w = World::new();
    w.io("proc/self/io", 1_000, 500);
    w.io("proc/self/task/1/io", 100, 50);
    w.io("proc/self/task/2/io", 1, 2);
    assert_eq!(proc::children_io(w.root(), "self"), Some(Io { read: 899, write: 448 }));
    assert_eq!(proc::children_io(w.root(), "77"), None);
}

/// This machine's own kernel does what the reader counts on.
#[test]
fn the_kernel_adds_a_reaped_child_s_figures() {
    let root = std::path::Path::new("/");
    let before = proc::children_io(root, "self").unwrap();
    let dd = ["if=/dev/zero", "of=/dev/null", "bs=1M", "count=64", "status=none"];
    assert!(std::process::Command::new("dd").args(dd).status().unwrap().success());
    let moved = proc::children_io(root, "self").unwrap().since(before);
    let wanted = 64 << 20;
    assert!(moved.read >= wanted && moved.read < wanted + (4 << 20), "{moved:?}");
    assert!(moved.write >= wanted && moved.write < wanted + (4 << 20), "{moved:?}");
}

#[test]
fn interfaces_as_differences() {
    let w = World::new();
    w.net(&[("lo", 100, 100), ("eth0", 5_000, 7_000), ("quiet", 9, 9)]);
    let before = net::totals(w.root());
    w.net(&[("lo", 150, 150), ("eth0", 4_000, 9_000), ("quiet", 9, 9), ("new", 3, 0)]);
    let nic = |name: &str, rx_bytes, tx_bytes| NicReport { name: name.to_owned(), rx_bytes, tx_bytes };
    let moved = net::moved(&before, &net::totals(w.root()));
    // eth0 began anew: what it has is what moved.
    assert_eq!(moved, [nic("eth0", 4_000, 2_000), nic("lo", 50, 50), nic("new", 3, 0)]);
    w.put("proc/self/net/dev", "a\nb\n: 1 2\neth9 7\n x: one two\n");
    assert_eq!(net::totals(w.root()), []);
    assert!(!net::totals(std::path::Path::new("/")).is_empty(), "this machine has lo");
}

#[test]
fn efa_counters_of_efa_devices_only() {
    let w = World::new();
    assert_eq!(efa::totals(w.root()), None);
    w.efa("mlx5_0", "mlx5_core", &[("hw_counters/rx_bytes", 7)]);
    assert_eq!(efa::totals(w.root()), None, "another maker's");
    let put = |rx, tx| {
        let of =
            [("hw_counters/rx_bytes", rx), ("hw_counters/tx_bytes", tx), ("hw_counters/rdma_read_bytes", 5)];
        w.efa(&format!("rdmap{rx}s6"), "efa", &of);
    };
    put(10, 20);
    put(30, 40);
    w.efa("rdmap9s6", "efa", &[("counters/port_rcv_data", 2), ("counters/port_xmit_data", 3)]);
    let all = efa::totals(w.root()).unwrap();
    let wanted = EfaReport {
        devices: 3,
        rx_bytes: Some(48),
        tx_bytes: Some(72),
        rdma_read_bytes: Some(10),
        rdma_write_bytes: None,
        rx_drops: None,
    };
    assert_eq!(all, wanted);
    let before = EfaReport { rx_bytes: Some(8), tx_bytes: Some(72), ..EfaReport::default() };
    let moved = efa::moved(&before, &all);
    assert_eq!((moved.rx_bytes, moved.tx_bytes, moved.devices), (Some(40), Some(0), 3));
    assert_eq!(efa::bytes(&moved), 50);
}

#[test]
fn the_machine_itself() {
    let w = World::new();
    w.put("sys/devices/system/cpu/online", "0-3,8,10-11\n");
    w.put("proc/meminfo", "MemTotal:       1000 kB\nMemFree: 1 kB\n");
    assert_eq!((proc::cpus(w.root()), proc::memory(w.root())), (Some(7), Some(1_024_000)));
    for bad in ["", "x", "3-1", "0-4294967295,0-4294967295"] {
        w.put("sys/devices/system/cpu/online", bad);
        assert_eq!(proc::cpus(w.root()), None, "{bad}");
    }
}

fn env(pairs: &[(&str, &str)]) -> Environment {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

#[test]
fn what_an_environment_says_of_mpi() {
    let of = |pairs: &[(&str, &str)]| {
        let m = mpi::facts(&env(pairs), Some(4), Some(2), None)?;
        Some((m.library.unwrap_or_default(), m.provider.unwrap_or_default(), m.efa_asked))
    };
    let is = |l: &str, p: &str, a| Some((l.to_owned(), p.to_owned(), a));
    assert_eq!(of(&[]), None);
    assert_eq!(of(&[("LOADEDMODULES", "gcc/12:python/3")]), None);
    assert_eq!(of(&[("OMPI_COMM_WORLD_RANK", "0"), ("FI_PROVIDER", "EFA")]), is("openmpi", "efa", true));
    assert_eq!(of(&[("I_MPI_ROOT", "/opt"), ("I_MPI_OFI_PROVIDER", "tcp")]), is("intelmpi", "tcp", false));
    assert_eq!(of(&[("PMI_RANK", "0"), ("MPICH_X", "1")]), is("mpich", "", false));
    assert_eq!(
        of(&[("LOADEDMODULES", "openmpi/4.1:x"), ("OMPI_MCA_btl", "self,tcp")]),
        is("openmpi", "tcp", false)
    );
    assert_eq!(of(&[("FI_PROVIDER", "^efa")]), is("", "^efa", false));
    assert_eq!(of(&[("SLURM_SPANK_BURST_OPTS", r#"{"efa":"required"}"#)]), is("", "", true));
    assert_eq!(of(&[("SLURM_SPANK_BURST_OPTS", r#"{"efa":"off"}"#)]), None);
    assert_eq!(of(&[("SLURM_SPANK_BURST_OPTS", "{{{")]), None);
    assert_eq!(of(&[("SLURM_SPANK_BURST_PLAN", "plan1 burst=1 efa=required")]), is("", "", true));
    let seen = EfaReport { devices: 1, tx_bytes: Some(2 << 20), ..EfaReport::default() };
    let m = mpi::facts(&env(&[("FI_PROVIDER", "ofi_rxm")]), None, None, Some(&seen)).unwrap();
    assert_eq!(m.provider.as_deref(), Some("efa"), "what was seen counts more than what was told");
}

#[test]
fn efa_asked_for_and_not_used_is_flagged() {
    let e = env(&[("PMIX_RANK", "0"), ("FI_PROVIDER", "efa")]);
    let moved = |tx| EfaReport { devices: 2, tx_bytes: Some(tx), ..EfaReport::default() };
    let flags = |e: &Environment, nodes, moved: Option<&EfaReport>, ms| {
        mpi::flags(e, mpi::facts(e, Some(8), Some(nodes), moved).as_ref(), moved, ms)
    };
    let idle = flags(&e, 2, Some(&moved(4_096)), 60_000);
    assert!(
        idle.len() == 1 && idle[0].contains("4096 bytes") && idle[0].contains("2 EFA devices"),
        "{idle:?}"
    );
    assert!(flags(&e, 2, None, 60_000)[0].contains("no EFA device"));
    assert!(flags(&e, 2, Some(&moved(1 << 20)), 60_000).is_empty(), "it was used");
    assert!(flags(&e, 1, Some(&moved(0)), 60_000).is_empty(), "one node has nobody to talk to");
    assert!(flags(&e, 2, Some(&moved(0)), 1_000).is_empty(), "too short to tell");
    assert!(flags(&env(&[("FI_PROVIDER", "efa")]), 2, Some(&moved(0)), 60_000).is_empty(), "no MPI");
    assert!(flags(&env(&[("PMIX_RANK", "0")]), 2, Some(&moved(0)), 60_000).is_empty(), "not asked for");
}

const RUSAGE: Rusage =
    Rusage { user_us: 3_000_000, system_us: 500_000, max_rss: 1 << 20, voluntary: 11, involuntary: 22 };

#[test]
fn a_step_without_groups() {
    let w = World::new();
    w.net(&[("eth0", 0, 0)]);
    w.efa("rdmap0s6", "efa", &[("hw_counters/tx_bytes", 9 << 20)]);
    w.io("proc/self/io", 1_000, 500);
    w.io("proc/self/task/1/io", 100, 50);
    let mut step = Step::begin(w.root(), 0, Size { tasks: Some(2), ranks: Some(4), nodes: Some(2) });
    step.environment(env(&[("PMIX_RANK", "0"), ("SLURM_RESTART_COUNT", "3")]));
    step.task_began(Some(100));
    w.net(&[("eth0", 10, 20)]);
    step.task_ended(0, 0);
    step.task_ended(1, 256);
    w.net(&[("eth0", 999, 999)]);
    w.io("proc/self/io", 9_999, 9_999);
    let seen = Seen {
        peak_memory: Some(5 << 20),
        efa: Some(EfaReport { devices: 1, tx_bytes: Some(1 << 20), ..EfaReport::default() }),
        ..Seen::default()
    };
    let file = step.finish(Some(RUSAGE), seen);
    assert_eq!(file.restart, Some(3));
    let r = file.step;
    assert_eq!((r.step.as_str(), r.tasks), ("0", Some(2)));
    assert_eq!((r.cpu_user_us, r.cpu_system_us), (Some(3_000_000), Some(500_000)));
    assert_eq!((r.peak_memory_bytes, r.memory_source.as_deref()), (Some(5 << 20), Some("proc")));
    assert_eq!((r.read_bytes, r.write_bytes, r.io_source.as_deref()), (Some(900), Some(450), Some("proc")));
    assert_eq!((r.switches_voluntary, r.switches_involuntary), (Some(11), Some(22)));
    assert_eq!(
        r.nics,
        [NicReport { name: "eth0".into(), rx_bytes: 10, tx_bytes: 20 }],
        "as of the last task's end"
    );
    assert_eq!(r.exits, [ExitReport { task: 1, status: 256 }]);
    assert_eq!(r.efa.unwrap().tx_bytes, Some(8 << 20));
    let mpi = r.mpi.unwrap();
    assert_eq!((mpi.provider.as_deref(), mpi.ranks, mpi.nodes), (Some("efa"), Some(4), Some(2)));
    assert!(r.ended_ms >= r.began_ms && r.began_ms.is_some());
}

#[test]
fn a_step_with_a_group_is_read_before_the_group_is_gone() {
    let w = World::new();
    w.put("proc/100/cgroup", "0::/system.slice/slurmstepd.scope/job_5/step_0/user/task_0\n");
    w.put(&format!("{V2}/cpu.stat"), "user_usec 4000000\nsystem_usec 1000000\n");
    w.put(&format!("{V2}/memory.peak"), "777\n");
    let mut step =
        Step::begin(w.root(), 0xffff_fffb, Size { tasks: Some(1), ranks: Some(1), nodes: Some(1) });
    step.environment(env(&[("SLURM_NTASKS", "64"), ("SLURM_JOB_NUM_NODES", "4"), ("OMPI_X", "1")]));
    step.task_began(Some(100));
    step.task_ended(0, 0);
    std::fs::remove_dir_all(w.root().join("sys")).unwrap();
    let r = step.finish(Some(RUSAGE), Seen::default()).step;
    assert_eq!(r.step, "batch");
    assert_eq!((r.cpu_user_us, r.cpu_system_us), (Some(4_000_000), Some(1_000_000)), "the group knew more");
    assert_eq!((r.peak_memory_bytes, r.memory_source.as_deref()), (Some(777), Some("cgroup2")));
    assert_eq!(r.io_source, None, "not measured is none");
    let mpi = r.mpi.unwrap();
    assert_eq!((mpi.ranks, mpi.nodes), (Some(64), Some(4)), "those of the job");
}

#[test]
fn nothing_measured_is_none() {
    let w = World::new();
    let r = Step::begin(w.root(), 7, Size::default()).finish(None, Seen::default()).step;
    assert_eq!(
        (r.cpu_user_us, r.peak_memory_bytes, r.read_bytes, r.switches_voluntary),
        (None, None, None, None)
    );
    assert_eq!((r.mpi, r.efa, r.gpu, r.sampler_cpu_us), (None, None, None, None));
    assert!(r.nics.is_empty() && r.flags.is_empty());
}

#[test]
fn names_of_steps() {
    assert_eq!([name(0), name(0xffff_fffc), name(0xffff_fffa)], ["0", "extern", "interactive"]);
}
