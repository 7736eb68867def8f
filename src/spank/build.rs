//! Compiles the C side against the target's Slurm headers and sets the link flags a Slurm plugin needs.

use std::path::Path;

#[path = "../../slurm-headers/discover.rs"]
mod discover;

fn main() {
    println!("cargo:rerun-if-env-changed=SLURM_INCLUDE_DIR");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=../../slurm-headers/discover.rs");
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
    let include = discover::slurm_include()?;
    println!("cargo:rerun-if-changed={}", include.join("slurm/slurm_version.h").display());
    let mut shim = discover::compiler(Path::new("../.."), &include);
    let version = discover::version_number(&shim)?;
    println!("cargo:rustc-env=BURST_SLURM_VERSION_NUMBER={version}");
    shim.file("../../c-shim/spank_shim.c").try_compile("burst_spank_shim").map_err(|e| e.to_string())?;

    // Lazy: undefined symbols bind at the first call, as Slurm's own plugins do (rustc asks for `now`).
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,lazy");
    // Nodelete: the plugin stays mapped after dlclose, whatever Rust's runtime still points at.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    Ok(())
}
