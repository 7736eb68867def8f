//! `burstctl man`.

use crate::cli::Cli;
use clap::{Command, CommandFactory};

/// One page with every command, so that `man burstctl` is all there is to read.
pub fn page() -> Vec<u8> {
    let mut root = Cli::command();
    root.build();
    let mut bytes = Vec::new();
    // Writing into a Vec does not fail.
    let _ = clap_mangen::Man::new(root.clone()).section("1").render(&mut bytes);
    let mut text = String::from_utf8_lossy(&bytes).replace(".SH EXTRA\n", ".SH NOTES\n");
    // There are no pages of their own to refer to.
    for command in root.get_subcommands() {
        let name = command.get_name().replace('-', "\\-");
        text = text.replace(&format!("burstctl\\-{name}(1)"), &format!("burstctl {name}"));
    }
    for command in commands(&root) {
        section(command, "burstctl", &mut text);
    }
    text.into_bytes()
}

fn commands(of: &Command) -> impl Iterator<Item = &Command> {
    of.get_subcommands().filter(|c| c.get_name() != "help")
}

fn section(command: &Command, parent: &str, text: &mut String) {
    let name = format!("{parent} {}", command.get_name());
    // Options of every command stand at the top of the page.
    let own = command.clone().mut_args(|a| {
        let shared = a.is_global_set() || a.get_id() == "help";
        a.hide(shared)
    });
    let man = clap_mangen::Man::new(own);
    let mut part = Vec::new();
    let _ = man.render_synopsis_section(&mut part);
    let _ = man.render_description_section(&mut part);
    let _ = man.render_options_section(&mut part);
    // The parts' headings go: the command's own heading stands over them.
    let part = String::from_utf8_lossy(&part)
        .replace(".SH SYNOPSIS\n", "")
        .replace(".SH DESCRIPTION\n", ".PP\n")
        .replace(".SH OPTIONS\n", "")
        .replace(".SH ", ".SS ");
    text.push_str(&format!(".SH \"{}\"\n{part}", name.to_uppercase()));
    for below in commands(command) {
        section(below, &name, text);
    }
}
