//! Help texts, made from the tables that the options are parsed by.

use super::config::List;
use super::{COMMANDS, chardev, device, img, netdev, options};
use std::fmt::Write;
use vm::log::ITEMS;

/// The help of `mimic`.
pub fn general() -> String {
    let mut text =
        String::from("Mimic runs the software of one machine on another.\n\nUsage: mimic COMMAND …\n\nCommands:\n");
    rows(&mut text, COMMANDS.iter().map(|(name, help)| (name.to_string(), *help)));
    text.push_str(
        "\nInstalled under the name qemu-system-aarch64 it behaves as the command system-aarch64.\n\n\
         Example: a kernel and an initial RAM disk in this terminal; Ctrl-A x ends it\n  \
         mimic system-aarch64 -M virt -nographic -m 512M -kernel Image -initrd initrd.img -append console=ttyAMA0\n",
    );
    text
}

/// The help of `system-aarch64`.
pub fn system() -> String {
    let mut text = String::from("Usage: mimic system-aarch64 [OPTION]…\n\nOptions, with one dash or two:\n");
    for option in options::OPTIONS {
        let names: Vec<String> = option.names.iter().map(|name| format!("-{name}")).collect();
        let value = option.value.map_or(String::new(), |value| format!(" {value}"));
        let _ = writeln!(text, "  {}{value}\n        {}", names.join(", "), option.help);
    }
    text
}

/// The help of `img`.
pub fn img() -> String {
    let mut text = String::from("Usage: mimic img COMMAND [OPTION]… FILE…\n\n");
    for command in img::COMMANDS {
        let _ = writeln!(text, "  {} {}\n        {}", command.name, command.usage, command.help);
    }
    text.push_str("\nOptions:\n");
    for option in img::OPTIONS {
        let value = option.value.map_or(String::new(), |value| format!(" {value}"));
        let names = option.names.join(", ");
        let _ = writeln!(text, "  {names}{value}\n        {}", option.help);
    }
    text.push_str(
        "\nFormats: raw, qcow2, vmdk (to be read). Sizes take the suffixes K, M, G, T, P and E.\n\
         `check` ends with status 2 for corruptions, 3 for leaks alone, 63 for formats without anything to check.\n",
    );
    text
}

/// The answer to `help` in place of a value; `None` for what only boards and CPU front ends know.
pub fn list(what: &List) -> Option<String> {
    let mut text = String::new();
    match what {
        List::Machines { .. } | List::Cpus { .. } => return None,
        List::Devices => {
            rows(&mut text, device::DRIVERS.iter().map(|driver| (driver.names.join(", "), driver.help)));
        }
        List::DeviceProperties(name) => {
            let driver = device::DRIVERS.iter().find(|driver| driver.names[0] == *name)?;
            let own = driver.properties.iter().map(|(name, help)| (format!("{name}="), *help));
            rows(&mut text, own.chain([("id=".to_string(), "name of the device")]));
        }
        List::LogItems => rows(&mut text, ITEMS.iter().map(|(_, name, help)| (name.to_string(), *help))),
        List::Accelerators => rows(&mut text, [("tcg".to_string(), "translation")]),
        List::Chardevs => rows(&mut text, chardev::BACKENDS.iter().map(|(name, help)| (name.to_string(), *help))),
        List::Objects => {
            let objects = [("rng-random", "randomness from filename="), ("rng-builtin", "randomness from the host")];
            rows(&mut text, objects.iter().map(|(name, help)| (name.to_string(), *help)));
        }
        List::Netdevs => rows(&mut text, netdev::KINDS.iter().map(|(name, help)| (name.to_string(), *help))),
    }
    Some(text)
}

fn rows<'a>(text: &mut String, rows: impl IntoIterator<Item = (String, &'a str)>) {
    let rows: Vec<_> = rows.into_iter().collect();
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, help) in rows {
        let _ = writeln!(text, "  {name:<width$}  {help}");
    }
}
