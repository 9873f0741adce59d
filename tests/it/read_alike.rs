//! What the gateway takes, other readers of JSON read as it does: ten thousand bodies, generated and mutated.

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio as Pipe};

use countersign::mcp::wire::Incoming;
use serde_json::{Value, json};

use crate::clients::{MODERN, Modern};
use crate::generated::{self, Dice, Numbers};
use crate::harness::{ALLOW_ALL, TestGateway, until};
use crate::raw_upstream::RawUpstream;
use crate::real_clients::program;

/// Reads lines of bytes in hexadecimal; writes each as it reads it, in one form, or `!`.
const PYTHON: &str = r#"
import json, struct, sys
def form(v):
    if v is None: return "n"
    if v is True: return "t"
    if v is False: return "f"
    if isinstance(v, (int, float)): return "d" + struct.pack(">d", float(v) + 0.0).hex()
    if isinstance(v, str): return "s" + v.encode("utf-8").hex()
    if isinstance(v, list): return "[" + ",".join(map(form, v)) + "]"
    return "{" + ",".join(sorted("s" + k.encode("utf-8").hex() + ":" + form(w) for k, w in v.items())) + "}"
for line in sys.stdin:
    try: said = form(json.loads(bytes.fromhex(line).decode("utf-8")))
    except (ValueError, RecursionError): said = "!"
    print(said, flush=True)
"#;

/// The same by another reader.
const NODE: &str = r#"
const hex = (text) => Buffer.from(text, "utf8").toString("hex");
const form = (v) => {
  if (v === null) return "n";
  if (v === true) return "t";
  if (v === false) return "f";
  if (typeof v === "number") {
    const bytes = Buffer.alloc(8);
    bytes.writeDoubleBE(v + 0);
    return "d" + bytes.toString("hex");
  }
  if (typeof v === "string") return "s" + hex(v);
  if (Array.isArray(v)) return "[" + v.map(form).join(",") + "]";
  return "{" + Object.keys(v).map((k) => "s" + hex(k) + ":" + form(v[k])).sort().join(",") + "}";
};
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
require("node:readline").createInterface({ input: process.stdin }).on("line", (line) => {
  let said = "!";
  try { said = form(JSON.parse(decoder.decode(Buffer.from(line, "hex")))); } catch {}
  console.log(said);
});
"#;

/// The same as the gateway read it.
fn form(value: &Value) -> String {
    match value {
        Value::Null => "n".to_owned(),
        Value::Bool(true) => "t".to_owned(),
        Value::Bool(false) => "f".to_owned(),
        Value::Number(number) => {
            let number: f64 = number.to_string().parse().unwrap();
            format!("d{}", hex::encode((number + 0.0).to_be_bytes()))
        }
        Value::String(text) => format!("s{}", hex::encode(text)),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(form).collect::<Vec<_>>().join(","))
        }
        Value::Object(object) => {
            let member =
                |(key, value): (&String, &Value)| format!("s{}:{}", hex::encode(key), form(value));
            let mut members: Vec<String> = object.iter().map(member).collect();
            members.sort();
            format!("{{{}}}", members.join(","))
        }
    }
}

/// A reader in a process of its own.
struct Reader {
    process: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Reader {
    fn start(name: &str, arguments: [&str; 2]) -> Self {
        let mut process = Command::new(program(name))
            .args(arguments)
            .stdin(Pipe::piped())
            .stdout(Pipe::piped())
            .spawn()
            .unwrap();
        let input = process.stdin.take().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, input, output }
    }

    fn read(&mut self, body: &[u8]) -> String {
        writeln!(self.input, "{}", hex::encode(body)).unwrap();
        self.output.next().expect("an answer").unwrap()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

struct Readers([Reader; 2]);

impl Readers {
    fn start() -> Self {
        Self([Reader::start("python3", ["-c", PYTHON]), Reader::start("node", ["-e", NODE])])
    }

    #[track_caller]
    fn agree(&mut self, body: &[u8], read: &str) {
        for reader in &mut self.0 {
            let shown = String::from_utf8_lossy(body);
            assert_eq!(reader.read(body), read, "{shown}");
        }
    }
}

/// What the gateway takes a body for, if it takes it for a request whose arguments it may run.
fn taken(body: &[u8]) -> Option<Value> {
    let incoming = Incoming::read(body).ok()?;
    let params = incoming.params().ok()?;
    if let Some(Value::Object(arguments)) = params.get("arguments") {
        countersign::json::check_i_json(arguments).ok()?;
    }
    incoming.method.is_some().then_some(Value::Object(incoming.message))
}

fn generated_body(dice: &mut Dice) -> String {
    let numbers = if dice.once_in(20) { Numbers::Any } else { Numbers::Plain };
    let arguments = generated::object(dice, numbers, 5, &[("key", "\"k\"".to_owned())]);
    let mut params = vec![("name", "\"raw\"".to_owned()), ("arguments", arguments)];
    if dice.once_in(2) {
        params.push(("_meta", generated::object(dice, numbers, 3, &[])));
    }
    let params = generated::object(dice, numbers, 2, &params);
    let method = dice.pick(&["tools/call", "tools/call", "tools/list", "ping", "vendor/x"]);
    let first = [
        ("jsonrpc", "\"2.0\"".to_owned()),
        ("id", dice.pick(&["1", "\"a\"", "-5", "-0", "\"\\u0041\""]).to_owned()),
        ("method", format!("\"{method}\"")),
        ("params", params),
    ];
    generated::object(dice, numbers, 2, &first)
}

#[test]
fn c2_whatever_is_taken_others_read_alike() {
    let mut readers = Readers::start();
    let mut dice = Dice::new(7422);
    let (mut taken_whole, mut taken_mutated) = (0, 0);
    for round in 0..10_000 {
        let body = generated_body(&mut dice).into_bytes();
        let is_mutated = round % 2 == 1;
        let body = if is_mutated { generated::mutated(&mut dice, &body) } else { body };
        let Some(read) = taken(&body) else { continue };
        readers.agree(&body, &form(&read));
        // What goes on is what we write, which says the same.
        let written = Incoming::read(&body).unwrap().to_bytes();
        readers.agree(&written, &form(&read));
        if is_mutated {
            taken_mutated += 1;
        } else {
            taken_whole += 1;
        }
    }
    println!("taken: {taken_whole} as generated, {taken_mutated} mutated");
    assert!(taken_whole > 3000 && taken_mutated > 500, "too little was compared");
}

#[test]
fn c2_what_a_server_gets_is_what_others_read() {
    let upstream = RawUpstream::start();
    let gateway = TestGateway::builder()
        .policy("all.yaml", ALLOW_ALL)
        .manifest("raw.yaml", &upstream.manifest())
        .start();
    let client = gateway.modern("m");
    until("the server's tool", || {
        use crate::clients::Client;
        client.tools().contains(&"raw".to_owned()).then_some(())
    });
    let mut readers = Readers::start();
    let mut dice = Dice::new(7423);
    let meta = Modern::new("", "").params(json!({}))["_meta"].to_string();
    let mut compared = 0;
    for round in 0..400 {
        let numbers = if dice.once_in(10) { Numbers::Any } else { Numbers::Plain };
        let arguments = generated::object(&mut dice, numbers, 5, &[]).into_bytes();
        let arguments =
            if round % 2 == 1 { generated::mutated(&mut dice, &arguments) } else { arguments };
        // Bytes that are no text go as they are.
        let head = format!(
            r#"{{"jsonrpc":"2.0","id":{round},"method":"tools/call","params":{{"_meta":{meta},"name":"raw","arguments":"#
        );
        let body = [head.as_bytes(), &arguments, b"}}"].concat();
        let before = upstream.calls().len();
        let request = crate::clients::post(&client.url, &client.token)
            .header("mcp-protocol-version", MODERN)
            .header("mcp-method", "tools/call")
            .header("mcp-name", "raw")
            .body(body.clone());
        let reply = crate::harness::RUNTIME.block_on(crate::clients::Reply::of(request));
        assert!(reply.status < 500, "{reply:?}");
        let calls = upstream.calls();
        let Some(call) = calls.get(before) else { continue };
        assert_eq!(calls.len(), before + 1);
        let sent: Value = serde_json::from_slice(&body).unwrap();
        let got: Value = serde_json::from_str(call).unwrap();
        assert_eq!(form(&sent["params"]["arguments"]), form(&got["arguments"]));
        readers.agree(&arguments, &form(&got["arguments"]));
        compared += 1;
    }
    println!("compared: {compared}");
    assert!(compared > 150, "too little was compared: {compared}");
}
