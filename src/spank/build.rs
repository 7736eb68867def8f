//! Compiles the C side against the target's Slurm headers and sets the link flags a Slurm plugin needs.

use std::path::{Path, PathBuf};

/// Where the headers may be, and how to get them, told when they are nowhere.
const MISSING: &str = "Slurm's header slurm/spank.h was not found.\n\
    Looked at: $SLURM_INCLUDE_DIR (the directory that holds slurm/), `pkg-config slurm`, /usr/include.\n\
    Debian, Ubuntu: apt-get install libslurm-dev\n\
    RHEL, Rocky, Amazon Linux: dnf install slurm-devel\n\
    Slurm built from source: set SLURM_INCLUDE_DIR=<prefix>/include";

fn main() {
    println!("cargo:rerun-if-env-changed=SLURM_INCLUDE_DIR");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=../../c-shim/spank_shim.c");
    println!("cargo:rerun-if-changed=../../include/burst_spank.h");
    if let Err(why) = build() {
        eprintln!("error: {why}");
        // Not process::exit inside slurmctld: this is the build script.
        #[allow(clippy::disallowed_methods)]
        std::process::exit(1);
    }
}

fn build() -> Result<(), String> {
    let include = slurm_include()?;
    println!("cargo:rerun-if-changed={}", include.join("slurm/slurm_version.h").display());

    let mut shim = cc::Build::new();
    shim.include("../../include")
        .flag("-std=gnu11")
        .flag("-Wall")
        .flag("-Wextra")
        .flag("-Werror")
        .flag("-fvisibility=hidden");
    // /usr/include is the compiler's own; naming it again would reorder its system directories.
    if include != Path::new("/usr/include") {
        shim.flag("-isystem").flag(include.display().to_string());
    }
    let version = version_number(&shim)?;
    println!("cargo:rustc-env=BURST_SLURM_VERSION_NUMBER={version}");
    shim.file("../../c-shim/spank_shim.c").try_compile("burst_spank_shim").map_err(|e| e.to_string())?;

    // Lazy: undefined symbols bind at the first call, as Slurm's own plugins do (rustc asks for `now`).
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,lazy");
    // Nodelete: the plugin stays mapped after dlclose, whatever Rust's runtime still points at.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    Ok(())
}

/// The directory that holds `slurm/spank.h`.
fn slurm_include() -> Result<PathBuf, String> {
    if let Some(dir) = std::env::var_os("SLURM_INCLUDE_DIR").filter(|d| !d.is_empty()) {
        let dir = PathBuf::from(dir);
        return if dir.join("slurm/spank.h").is_file() {
            Ok(dir)
        } else {
            Err(format!("SLURM_INCLUDE_DIR is {}, but slurm/spank.h is not in it.\n{MISSING}", dir.display()))
        };
    }
    let packaged = pkg_config::Config::new().cargo_metadata(false).env_metadata(true).probe("slurm");
    packaged
        .map(|found| found.include_paths)
        .unwrap_or_default()
        .into_iter()
        .chain([PathBuf::from("/usr/include")])
        .find(|dir| dir.join("slurm/spank.h").is_file())
        .ok_or_else(|| MISSING.to_owned())
}

/// `SLURM_VERSION_NUMBER` of those headers. The preprocessor is asked, so cross builds work too.
fn version_number(shim: &cc::Build) -> Result<u32, String> {
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
