//! Flattened device trees as a tree of nodes that can be built, read, edited, printed and written.
//!
//! Devicetree Specification v0.4, chapter 5 "Flattened Devicetree (DTB) Format". Writing is left to `vm-fdt`.

use std::fmt;
use vm_fdt::{FdtReserveEntry, FdtWriter};

/// `magic` of 5.2 "Header".
const MAGIC: u32 = 0xd00d_feed;
/// Tokens of 5.4.1 "Lexical structure".
const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
const PROP: u32 = 3;
const NOP: u32 = 4;
const END: u32 = 9;
/// The version whose header has every field read here, and the oldest that readers of it must accept.
const VERSION: u32 = 17;
/// Nodes inside nodes that a tree from a file may have.
const MAX_DEPTH: usize = 64;

/// A tree, or a change to one, that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadFdt(pub String);

fn bad(why: impl Into<String>) -> BadFdt {
    BadFdt(why.into())
}

/// One node with its properties and children, both in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Name with its unit address; empty for the root.
    pub name: String,
    /// Property names and values.
    pub props: Vec<(String, Vec<u8>)>,
    /// Child nodes.
    pub children: Vec<Node>,
}

impl Node {
    /// A node without properties.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// Sets a property to raw bytes.
    pub fn bytes(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.set(name, value);
        self
    }

    /// Sets a property to 32-bit cells.
    pub fn cells(self, name: &str, cells: &[u32]) -> Self {
        let value: Vec<u8> = cells.iter().flat_map(|cell| cell.to_be_bytes()).collect();
        self.bytes(name, value)
    }

    /// Sets a property to one 64-bit number.
    pub fn u64(self, name: &str, value: u64) -> Self {
        self.bytes(name, value.to_be_bytes())
    }

    /// Sets a property to (address, size) pairs of two cells each.
    pub fn reg(self, name: &str, ranges: &[(u64, u64)]) -> Self {
        let value: Vec<u8> =
            ranges.iter().flat_map(|&(at, len)| [at.to_be_bytes(), len.to_be_bytes()]).flatten().collect();
        self.bytes(name, value)
    }

    /// Sets a property to a string.
    pub fn string(self, name: &str, value: &str) -> Self {
        self.strings(name, &[value])
    }

    /// Sets a property to a list of strings.
    pub fn strings(self, name: &str, values: &[&str]) -> Self {
        let value: Vec<u8> = values.iter().flat_map(|s| s.bytes().chain([0])).collect();
        self.bytes(name, value)
    }

    /// Sets a property without a value.
    pub fn flag(self, name: &str) -> Self {
        self.bytes(name, [])
    }

    /// Appends a child.
    pub fn child(mut self, node: Node) -> Self {
        self.children.push(node);
        self
    }

    /// Sets a property, in place if it exists.
    pub fn set(&mut self, name: &str, value: impl Into<Vec<u8>>) {
        match self.props.iter_mut().find(|(n, _)| n == name) {
            Some((_, old)) => *old = value.into(),
            None => self.props.push((name.into(), value.into())),
        }
    }

    /// Removes a property if it exists.
    pub fn unset(&mut self, name: &str) {
        self.props.retain(|(n, _)| n != name);
    }

    /// The value of a property.
    pub fn prop(&self, name: &str) -> Option<&[u8]> {
        self.props.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_slice())
    }

    /// A property of one or two cells as a number.
    pub fn number(&self, name: &str) -> Option<u64> {
        match *self.prop(name)? {
            [a, b, c, d] => Some(u32::from_be_bytes([a, b, c, d]).into()),
            [a, b, c, d, e, f, g, h] => Some(u64::from_be_bytes([a, b, c, d, e, f, g, h])),
            _ => None,
        }
    }

    /// The child called `name`, appended if there is none.
    pub fn child_mut(&mut self, name: &str) -> &mut Node {
        let index = self.children.iter().position(|child| child.name == name).unwrap_or_else(|| {
            self.children.push(Node::new(name));
            self.children.len() - 1
        });
        &mut self.children[index]
    }

    /// The node at `path` such as `cpus/cpu@0`, below this one.
    pub fn find(&self, path: &str) -> Option<&Node> {
        path.split('/')
            .filter(|name| !name.is_empty())
            .try_fold(self, |node, name| node.children.iter().find(|child| child.name == name))
    }
}

/// A whole device tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fdt {
    /// The root node.
    pub root: Node,
    /// Memory reservations as (address, size).
    pub reserved: Vec<(u64, u64)>,
    /// Physical identifier of the boot CPU.
    pub boot_cpu: u32,
}

fn be32(blob: &[u8], at: usize) -> Result<u32, BadFdt> {
    let bytes = at.checked_add(4).and_then(|end| blob.get(at..end)).ok_or_else(|| bad("it ends too early"))?;
    Ok(u32::from_be_bytes(bytes.try_into().expect("four bytes")))
}

fn be64(blob: &[u8], at: usize) -> Result<u64, BadFdt> {
    Ok(u64::from(be32(blob, at)?) << 32 | u64::from(be32(blob, at.saturating_add(4))?))
}

fn text(blob: &[u8], at: usize) -> Result<String, BadFdt> {
    let rest = blob.get(at..).ok_or_else(|| bad("it ends too early"))?;
    let len = rest.iter().position(|&b| b == 0).ok_or_else(|| bad("a name has no end"))?;
    String::from_utf8(rest[..len].to_vec()).map_err(|_| bad("a name is not ASCII text"))
}

impl Fdt {
    /// Whether `blob` begins as a device tree does.
    pub fn is_fdt(blob: &[u8]) -> bool {
        blob.starts_with(&MAGIC.to_be_bytes())
    }

    /// Reads a flattened device tree.
    ///
    /// # Errors
    /// [`BadFdt`] for anything that 5.2 to 5.5 do not allow.
    pub fn parse(blob: &[u8]) -> Result<Fdt, BadFdt> {
        if !Self::is_fdt(blob) {
            return Err(bad("it does not begin with the magic number d00dfeed"));
        }
        let header = |index: usize| be32(blob, index * 4);
        let (total, version, compatible) = (header(1)? as usize, header(5)?, header(6)?);
        let blob = blob.get(..total).ok_or_else(|| bad(format!("it has {} of {total} bytes", blob.len())))?;
        if version < VERSION || compatible > VERSION {
            return Err(bad(format!("it has version {version} of the format, not {VERSION}")));
        }
        let (structure, strings, mut reserve) = (header(2)? as usize, header(3)? as usize, header(4)? as usize);
        let mut fdt = Fdt { boot_cpu: header(7)?, ..Fdt::default() };
        loop {
            let entry = (be64(blob, reserve)?, be64(blob, reserve.saturating_add(8))?);
            reserve = reserve.saturating_add(16);
            if entry == (0, 0) {
                break;
            }
            fdt.reserved.push(entry);
        }

        let mut at = structure;
        let mut open: Vec<Node> = Vec::new();
        loop {
            let token = be32(blob, at)?;
            at += 4;
            match token {
                NOP => {}
                BEGIN_NODE if open.len() < MAX_DEPTH => {
                    let name = text(blob, at)?;
                    at = (at + name.len() + 1).next_multiple_of(4);
                    open.push(Node::new(name));
                }
                PROP => {
                    let (len, name) = (be32(blob, at)? as usize, be32(blob, at + 4)? as usize);
                    let name = text(blob, strings.saturating_add(name))?;
                    let value = blob
                        .get(at + 8..)
                        .and_then(|rest| rest.get(..len))
                        .ok_or_else(|| bad(format!("property `{name}` is longer than the tree")))?;
                    open.last_mut().ok_or_else(|| bad("a property is outside of all nodes"))?.set(&name, value);
                    at = (at + 8 + len).next_multiple_of(4);
                }
                END_NODE => {
                    let node = open.pop().ok_or_else(|| bad("a node ends that did not begin"))?;
                    match open.last_mut() {
                        Some(parent) => parent.children.push(node),
                        None => {
                            fdt.root = node;
                            return Ok(fdt);
                        }
                    }
                }
                BEGIN_NODE => return Err(bad(format!("its nodes are more than {MAX_DEPTH} deep"))),
                END => return Err(bad("it ends inside a node")),
                other => return Err(bad(format!("it contains the unknown token {other:#x}"))),
            }
        }
    }

    /// The tree in flattened form.
    ///
    /// # Errors
    /// [`BadFdt`] when a name has characters that 2.2.1 "Node Names" and 2.2.4 "Properties" do not allow.
    pub fn write(&self) -> Result<Vec<u8>, BadFdt> {
        fn write_node(fdt: &mut FdtWriter, node: &Node) -> vm_fdt::FdtWriterResult<()> {
            let open = fdt.begin_node(&node.name)?;
            for (name, value) in &node.props {
                fdt.property(name, value)?;
            }
            for child in &node.children {
                write_node(fdt, child)?;
            }
            fdt.end_node(open)
        }
        let go = || {
            let reserved: Result<Vec<_>, _> =
                self.reserved.iter().map(|&(at, len)| FdtReserveEntry::new(at, len)).collect();
            let mut fdt = FdtWriter::new_with_mem_reserv(&reserved?)?;
            fdt.set_boot_cpuid_phys(self.boot_cpu);
            write_node(&mut fdt, &self.root)?;
            fdt.finish()
        };
        go().map_err(|e| bad(e.to_string()))
    }
}

/// Device tree source as `dtc` accepts it. Strings are recognised by their bytes; all else prints as cells or bytes.
impl fmt::Display for Fdt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "/dts-v1/;\n")?;
        for (at, len) in &self.reserved {
            writeln!(f, "/memreserve/ {at:#x} {len:#x};")?;
        }
        print_node(f, &self.root, 0)
    }
}

fn print_node(f: &mut fmt::Formatter<'_>, node: &Node, depth: usize) -> fmt::Result {
    let tabs = "\t".repeat(depth);
    writeln!(f, "{tabs}{} {{", if depth == 0 { "/" } else { &node.name })?;
    for (name, value) in &node.props {
        write!(f, "{tabs}\t{name}")?;
        print_value(f, value)?;
    }
    for child in &node.children {
        print_node(f, child, depth + 1)?;
    }
    writeln!(f, "{tabs}}};")
}

fn print_value(f: &mut fmt::Formatter<'_>, value: &[u8]) -> fmt::Result {
    let strings = value.strip_suffix(&[0]).map(|body| body.split(|&b| b == 0).collect::<Vec<_>>());
    let printable =
        |s: &&[u8]| !s.is_empty() && s.iter().all(|&b| (b' '..=b'~').contains(&b) && b != b'"' && b != b'\\');
    match strings {
        _ if value.is_empty() => writeln!(f, ";"),
        Some(strings) if strings.iter().all(printable) => {
            let quoted: Vec<_> = strings.iter().map(|s| format!("\"{}\"", String::from_utf8_lossy(s))).collect();
            writeln!(f, " = {};", quoted.join(", "))
        }
        _ if value.len().is_multiple_of(4) => {
            let cells = value.chunks_exact(4).map(|c| u32::from_be_bytes(c.try_into().expect("four bytes")));
            writeln!(f, " = <{}>;", cells.map(|c| format!("{c:#x}")).collect::<Vec<_>>().join(" "))
        }
        _ => writeln!(f, " = [{}];", value.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Fdt {
        let uart = Node::new("uart@9000000")
            .strings("compatible", &["arm,pl011", "arm,primecell"])
            .reg("reg", &[(0x900_0000, 0x1000)])
            .flag("dma-coherent")
            .bytes("odd", [1, 2, 3]);
        let root = Node::new("").cells("#address-cells", &[2]).string("model", "sample").child(uart);
        Fdt { root, reserved: vec![(0x4000_0000, 0x1000)], boot_cpu: 3 }
    }

    #[test]
    fn what_is_written_is_read_and_printed() {
        let fdt = sample();
        let blob = fdt.write().unwrap();
        assert_eq!(Fdt::parse(&blob), Ok(fdt.clone()));
        assert_eq!(
            fdt.to_string(),
            "/dts-v1/;\n\n/memreserve/ 0x40000000 0x1000;\n/ {\n\t#address-cells = <0x2>;\n\tmodel = \"sample\";\n\
             \tuart@9000000 {\n\t\tcompatible = \"arm,pl011\", \"arm,primecell\";\n\t\treg = <0x0 0x9000000 0x0 0x1000>;\n\
             \t\tdma-coherent;\n\t\todd = [01 02 03];\n\t};\n};\n"
        );
        assert_eq!(fdt.root.find("/uart@9000000").unwrap().prop("odd"), Some(&[1, 2, 3][..]));
        assert_eq!(fdt.root.number("#address-cells"), Some(2));
    }

    #[test]
    fn a_damaged_tree_is_refused_wherever_it_is_cut_or_changed() {
        let blob = sample().write().unwrap();
        for len in 0..blob.len() {
            assert!(Fdt::parse(&blob[..len]).is_err(), "{len} bytes");
        }
        for at in 0..blob.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut blob = blob.clone();
                blob[at] = value;
                let _ = Fdt::parse(&blob); // must not panic or hang
            }
        }
        assert_eq!(Fdt::parse(b"text").unwrap_err().to_string(), "it does not begin with the magic number d00dfeed");
        assert_eq!(Fdt::parse(&blob[..100]).unwrap_err().to_string(), format!("it has 100 of {} bytes", blob.len()));
    }

    #[test]
    fn edits_replace_in_place() {
        let mut fdt = sample();
        fdt.root.set("model", *b"x\0");
        fdt.root.child_mut("chosen").set("bootargs", *b"quiet\0");
        fdt.root.child_mut("chosen").unset("absent");
        assert_eq!(fdt.root.props[1], ("model".into(), b"x\0".to_vec()));
        assert_eq!(fdt.root.find("chosen").unwrap().prop("bootargs"), Some(&b"quiet\0"[..]));
        assert!(Fdt { root: Node::new("").child(Node::new("a b")), ..Fdt::default() }.write().is_err());
    }
}
