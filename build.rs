//! Compiles the C shim against the target's Slurm headers, generates its Rust face, sets the link flags of a plugin.

use std::path::{Path, PathBuf};

#[path = "slurm-headers/discover.rs"]
mod discover;

const SOURCES: [&str; 3] = ["c-shim/burst_shim.c", "c-shim/burst_rpc.c", "c-shim/burst_munge.c"];

fn main() {
    println!("cargo:rerun-if-env-changed=SLURM_INCLUDE_DIR");
    for path in ["build.rs", "slurm-headers/discover.rs", "include/burst_shim.h", "c-shim/burst_slurm.h"] {
        println!("cargo:rerun-if-changed={path}");
    }
    for path in SOURCES {
        println!("cargo:rerun-if-changed={path}");
    }
    if let Err(why) = build() {
        eprintln!("error: {why}");
        // The ban is for code inside slurmctld; this is the build script.
        #[allow(clippy::disallowed_methods)]
        std::process::exit(1);
    }
}

fn build() -> Result<(), String> {
    let include = discover::slurm_include()?;
    println!("cargo:rerun-if-changed={}", include.join("slurm/slurm_version.h").display());
    let mut shim = discover::compiler(Path::new("."), &include);
    let version = discover::version_number(&shim)?;
    println!("cargo:rustc-env=BURST_SLURM_VERSION_NUMBER={version}");
    for path in SOURCES {
        shim.file(path);
    }
    shim.try_compile("burst_shim").map_err(|e| e.to_string())?;

    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    bindgen::Builder::default()
        .header("include/burst_shim.h")
        .allowlist_item("(burst|BURST)_.*")
        .derive_default(true)
        .layout_tests(false)
        .generate()
        .map_err(|e| format!("bindgen: {e}"))?
        .write_to_file(out.join("shim.rs"))
        .map_err(|e| format!("shim.rs: {e}"))?;

    // Lazy: Slurm's symbols bind at the first call, as in Slurm's own plugins. Nodelete: our threads outlive dlclose.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,lazy");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    // Rust links with LLD here (1.90, stable x86_64-unknown-linux-gnu); another linker does not know the option. What the
    // SDK's generated code has many times over is there once.
    if std::env::var("TARGET").as_deref() == Ok("x86_64-unknown-linux-gnu") {
        println!("cargo:rustc-cdylib-link-arg=-Wl,--icf=all");
    }
    Ok(())
}
