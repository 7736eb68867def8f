//! Compiles the C side against the target's Slurm headers and sets the link flags a Slurm plugin needs.

#[path = "../../slurm-headers/discover.rs"]
mod discover;

fn main() {
    println!("cargo:rerun-if-env-changed=SLURM_INCLUDE_DIR");
    if let Err(why) = build() {
        eprintln!("error: {why}");
        // Not process::exit inside slurmctld: this is the build script.
        #[allow(clippy::disallowed_methods)]
        std::process::exit(1);
    }
}

/// For both plugins: this folder's package and `measure`, one folder further down.
fn build() -> Result<(), String> {
    let here = std::env::current_dir().map_err(|e| e.to_string())?;
    let root =
        here.ancestors().find(|d| d.join("c-shim").is_dir()).ok_or("the workspace's c-shim is not there")?;
    for file in
        ["src/spank/build.rs", "slurm-headers/discover.rs", "c-shim/spank_shim.c", "include/burst_spank.h"]
    {
        println!("cargo:rerun-if-changed={}", root.join(file).display());
    }
    let include = discover::slurm_include()?;
    println!("cargo:rerun-if-changed={}", include.join("slurm/slurm_version.h").display());
    let mut shim = discover::compiler(root, &include);
    let version = discover::version_number(&shim)?;
    println!("cargo:rustc-env=BURST_SLURM_VERSION_NUMBER={version}");
    shim.file(root.join("c-shim/spank_shim.c")).try_compile("burst_spank_shim").map_err(|e| e.to_string())?;

    // Lazy: undefined symbols bind at the first call, as Slurm's own plugins do (rustc asks for `now`).
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,lazy");
    // Nodelete: the plugin stays mapped after dlclose, whatever Rust's runtime still points at.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    Ok(())
}
