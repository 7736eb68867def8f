//! The files about a life (docs/RECORD.md): written whole or not at all, readable by their owner only, and not kept for ever.

use burst_policy::{config::Record, life::Life, record};
use serde_json::Value;
use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// What our files' names end with.
const ENDS: [&str; 3] = ["-performance.json", "-comment.txt", "-asbb-reconciliation.json"];

/// Writes the files of a life; `sweep`: removes what is too old or too much.
///
/// # Errors
/// In words, with the path and what to do.
pub fn write(config: &Record, life: &Life, now_ms: u64, sweep: bool) -> Result<(), String> {
    let dir = config.dir.as_path();
    let say =
        |e: io::Error| format!("{}: {e}; make the directory SlurmUser's, or name another", dir.display());
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(say)?;
    let id = life.file_id();
    if !id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
        return Err(format!("`{id}` cannot be part of a file's name"));
    }
    if life.restart > 0 && id == life.text {
        set_aside(dir, life).map_err(say)?;
    }
    let json = |v: &Value| serde_json::to_string_pretty(v).map(|t| t + "\n").map_err(|e| e.to_string());
    let texts = [
        json(&record::performance(life))?,
        record::comment(life),
        json(&record::reconciliation(life, now_ms / 1_000))?,
    ];
    // The record last: whoever waits for it finds the others.
    for (end, text) in ENDS.iter().zip(texts).rev() {
        whole(dir, &format!("job-{id}{end}"), &text).map_err(say)?;
    }
    if sweep {
        tidy(config, SystemTime::now()).map_err(say)?;
    }
    Ok(())
}

/// The record of a life that was over when the job was requeued after its end: it had been the last one, and is not any
/// more.
fn set_aside(dir: &Path, life: &Life) -> io::Result<()> {
    let path = |id: &str, end: &str| dir.join(format!("job-{id}{end}"));
    let Ok(text) = fs::read_to_string(path(&life.text, ENDS[0])) else { return Ok(()) };
    let old: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
    let used = old.get("execution_context").and_then(|c| c.get("configuration_used"));
    let gang = used.and_then(|u| u.get("gang")).and_then(Value::as_str);
    let restart = used.and_then(|u| u.get("restart")).and_then(Value::as_u64);
    let Some(restart) = restart.filter(|r| *r < u64::from(life.restart) && gang == Some(life.gang.as_str()))
    else {
        return Ok(());
    };
    for end in ENDS {
        match fs::rename(path(&life.text, end), path(&format!("{}-restart{restart}", life.text), end)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
    }
    Ok(())
}

/// A file that is there whole or not at all.
fn whole(dir: &Path, name: &str, text: &str) -> io::Result<()> {
    let temp = dir.join(format!(".{name}.new"));
    // A name that a kill left behind is not followed, whatever it is now.
    match fs::remove_file(&temp) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temp)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temp, dir.join(name))?;
    File::open(dir)?.sync_all()
}

/// Removes files of ours that are too old, and then the oldest ones until the rest is small enough.
fn tidy(config: &Record, now: SystemTime) -> io::Result<()> {
    let mut ours: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
    for entry in fs::read_dir(&config.dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("job-") && ENDS.iter().any(|e| name.ends_with(e)) {
            let facts = entry.metadata()?;
            ours.push((facts.modified()?, facts.len(), entry.path()));
        }
    }
    ours.sort();
    let oldest = Duration::from_secs(config.keep_days.saturating_mul(86_400));
    let mut bytes = ours.iter().fold(0u64, |sum, f| sum.saturating_add(f.1));
    for (at, length, path) in ours {
        let old = now.duration_since(at).is_ok_and(|age| age > oldest);
        if !old && bytes <= config.keep_bytes {
            break;
        }
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => bytes = bytes.saturating_sub(length),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// A directory of the test's own, gone with it.
    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("burst-record-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            Self(path)
        }
        fn names(&self) -> Vec<String> {
            let all = fs::read_dir(&self.0).expect("is there");
            let mut names: Vec<String> =
                all.map(|e| e.expect("reads").file_name().to_string_lossy().into_owned()).collect();
            names.sort();
            names
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn config(dir: &Dir) -> Record {
        Record { enabled: true, dir: dir.0.join("learning"), keep_days: 90, keep_bytes: 1 << 20 }
    }

    fn life(text: &str, restart: u32) -> Life {
        Life { text: text.into(), restart, gang: "g".into(), ..Life::default() }
    }

    #[test]
    fn three_files_that_only_their_owner_reads() {
        let dir = Dir::new("three");
        let config = config(&dir);
        write(&config, &life("12_3", 0), 0, true).expect("written");
        let inner = Dir(config.dir.clone());
        assert_eq!(
            inner.names(),
            ["job-12_3-asbb-reconciliation.json", "job-12_3-comment.txt", "job-12_3-performance.json"]
        );
        for name in inner.names() {
            let mode = fs::metadata(inner.0.join(name)).expect("is there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let e = write(&config, &life("../x", 0), 0, false).expect_err("a name that leaves the directory");
        assert!(e.contains("cannot be part of"), "{e}");
    }

    #[test]
    fn no_life_overwrites_another() {
        let dir = Dir::new("lives");
        let config = config(&dir);
        // Requeued while it ran: the first one knows that another follows.
        let mut first = life("7", 0);
        first.slurm.restarts = 1;
        write(&config, &first, 0, false).expect("written");
        write(&config, &Life { slurm: first.slurm.clone(), ..life("7", 1) }, 0, false).expect("written");
        // Requeued after its end.
        write(&config, &life("7", 2), 0, false).expect("written");
        // Again the same one, as after a kill.
        write(&config, &life("7", 2), 0, false).expect("written");
        let inner = Dir(config.dir.clone());
        let records: Vec<String> = inner.names().into_iter().filter(|n| n.ends_with(ENDS[0])).collect();
        assert_eq!(
            records,
            ["job-7-performance.json", "job-7-restart0-performance.json", "job-7-restart1-performance.json"]
        );
        let last = fs::read_to_string(inner.0.join(&records[0])).expect("reads");
        assert!(last.contains("\"restart\": 2"), "{last}");
    }

    #[test]
    fn what_is_old_or_too_much_goes_and_what_is_not_ours_stays() {
        let dir = Dir::new("tidy");
        let config = Record { keep_bytes: 9_000, ..config(&dir) };
        fs::create_dir_all(&config.dir).expect("made");
        let other = config.dir.join("notes.txt");
        fs::write(&other, vec![b'x'; 100_000]).expect("written");
        let now = SystemTime::now();
        let put = |n: u64, days: u64| {
            let path = config.dir.join(format!("job-{n}{}", ENDS[0]));
            fs::write(&path, vec![b'x'; 4_000]).expect("written");
            let at = now - Duration::from_secs(days * 86_400);
            File::options().write(true).open(&path).and_then(|f| f.set_modified(at)).expect("set");
        };
        for (n, days) in [(1, 91), (2, 3), (3, 2), (4, 1)] {
            put(n, days);
        }
        tidy(&config, now).expect("tidied");
        let inner = Dir(config.dir.clone());
        assert_eq!(inner.names(), ["job-3-performance.json", "job-4-performance.json", "notes.txt"]);
    }

    #[test]
    fn a_directory_that_cannot_be_is_told() {
        let record = Record { dir: "/proc/nowhere".into(), enabled: true, keep_days: 1, keep_bytes: 1 };
        let e = write(&record, &life("1", 0), 0, false).expect_err("cannot be");
        assert!(e.contains("/proc/nowhere") && e.contains("SlurmUser"), "{e}");
    }
}
