// How the target's Slurm headers are found; shared by the build scripts of both plugins.

use std::path::{Path, PathBuf};

/// What to do when they are nowhere.
const MISSING: &str = "Slurm's headers (slurm/slurm.h, slurm/spank.h) were not found.\n\
    Looked at: $SLURM_INCLUDE_DIR (the directory that holds slurm/), `pkg-config slurm`, /usr/include.\n\
    Debian, Ubuntu: apt-get install libslurm-dev\n\
    RHEL, Rocky, Amazon Linux: dnf install slurm-devel\n\
    Slurm built from source: set SLURM_INCLUDE_DIR=<prefix>/include";

/// The directory that holds `slurm/slurm.h`.
pub fn slurm_include() -> Result<PathBuf, String> {
    let has = |dir: &Path| dir.join("slurm/slurm.h").is_file() && dir.join("slurm/spank.h").is_file();
    if let Some(dir) = std::env::var_os("SLURM_INCLUDE_DIR").filter(|d| !d.is_empty()) {
        let dir = PathBuf::from(dir);
        return match has(&dir) {
            true => Ok(dir),
            false => Err(format!(
                "SLURM_INCLUDE_DIR is {}, but slurm/slurm.h is not in it.\n{MISSING}",
                dir.display()
            )),
        };
    }
    let packaged = pkg_config::Config::new().cargo_metadata(false).env_metadata(true).probe("slurm");
    packaged
        .map(|found| found.include_paths)
        .unwrap_or_default()
        .into_iter()
        .chain([PathBuf::from("/usr/include")])
        .find(|dir| has(dir))
        .ok_or_else(|| MISSING.to_owned())
}

/// A C compiler set up for our shims against those headers, below the folder that holds `c-shim` and `include`.
pub fn compiler(root: &Path, include: &Path) -> cc::Build {
    let mut shim = cc::Build::new();
    shim.include(root.join("include"))
        .include(root.join("c-shim"))
        .flag("-std=gnu11")
        .flag("-Wall")
        .flag("-Wextra")
        .flag("-Werror")
        .flag("-fvisibility=hidden");
    // /usr/include is the compiler's own; naming it again would reorder its system directories.
    if include != Path::new("/usr/include") {
        shim.flag("-isystem").flag(include.display().to_string());
    }
    shim
}

/// `SLURM_VERSION_NUMBER` of those headers. The preprocessor is asked, so cross builds work too.
pub fn version_number(shim: &cc::Build) -> Result<u32, String> {
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    let probe = out.join("slurm_version_probe.c");
    std::fs::write(&probe, "#include <slurm/slurm_version.h>\nburst_version SLURM_VERSION_NUMBER\n")
        .map_err(|e| format!("{}: {e}", probe.display()))?;
    let text = shim.clone().file(&probe).try_expand().map_err(|e| format!("{e}\n{MISSING}"))?;
    let text = String::from_utf8_lossy(&text);
    // A macro of a system header comes with line markers around it, even inside of a line.
    let plain: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let plain = plain.join(" ");
    let mut words = plain.split_whitespace().skip_while(|word| *word != "burst_version").skip(1);
    words
        .next()
        .and_then(|number| match number.strip_prefix("0x") {
            Some(hex) => u32::from_str_radix(hex, 16).ok(),
            None => number.parse().ok(),
        })
        .ok_or_else(|| "slurm/slurm_version.h does not define SLURM_VERSION_NUMBER as a number".to_owned())
}
