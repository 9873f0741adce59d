//! The rules of each row, as many as are wanted, and the calls that are decided by them. The comparison with
//! other engines takes them from here too.

/// How many tools the large catalog has.
pub(crate) const TOOLS: usize = 10_000;
/// How many tools one backend has.
const OF_ONE_BACKEND: usize = 500;
/// How many different calls a row with different ones takes in turns.
const CALLS: usize = 64;

/// A kind of rules, and which calls are decided by them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Row {
    HitFirst,
    HitLast,
    NoneHit,
    ToolGlobs,
    Agents,
    AgentsOfOneTool,
    AgentGlobs,
    Constraints,
    Conditions,
}

impl Row {
    pub(crate) const ALL: [Self; 9] = [
        Self::HitFirst,
        Self::HitLast,
        Self::NoneHit,
        Self::ToolGlobs,
        Self::Agents,
        Self::AgentsOfOneTool,
        Self::AgentGlobs,
        Self::Constraints,
        Self::Conditions,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::HitFirst => "a tool each, the first hit",
            Self::HitLast => "a tool each, the last hit",
            Self::NoneHit => "a tool each, none hit",
            Self::ToolGlobs => "globs of tools",
            Self::Agents => "an agent each, all tools",
            Self::AgentsOfOneTool => "an agent each, one tool",
            Self::AgentGlobs => "globs of agents, all tools",
            Self::Constraints => "an agent each, a constraint",
            Self::Conditions => "a tool each, a condition in CEL",
        }
    }

    /// The rule of this number, as one line of a policy file.
    pub(crate) fn rule(self, number: usize) -> String {
        let head = format!("- {{ name: r{number}, ");
        let tool = tool_name(number % TOOLS);
        match self {
            // Where there are more rules than tools, the others are about what comes later.
            Self::HitFirst | Self::HitLast | Self::NoneHit => {
                format!("{head}match: {{ tool: {} }}, decision: ALLOW }}", any_tool(number))
            }
            Self::ToolGlobs => {
                format!("{head}match: {{ tool: \"{}*\" }}, decision: ALLOW }}", any_tool(number))
            }
            Self::Agents => {
                format!("{head}match: {{ agent: agent-{number:06} }}, decision: ALLOW }}")
            }
            Self::AgentsOfOneTool => format!(
                "{head}match: {{ agent: agent-{number:06}, tool: {} }}, decision: ALLOW }}",
                tool_name(0)
            ),
            Self::AgentGlobs => {
                format!("{head}match: {{ agent: \"agent-{number:06}*\" }}, decision: ALLOW }}")
            }
            Self::Constraints => format!(
                "{head}match: {{ agent: agent-{number:06} }}, decision: ALLOW_WITH_CONSTRAINTS, \
                 constraints: {{ max_replicas: {} }} }}",
                number % 50 + 1
            ),
            Self::Conditions => format!(
                "{head}match: {{ agent: agent-{number:06}, tool: {tool} }}, \
                 when: \"arguments.replicas > 10\", decision: ALLOW }}"
            ),
        }
    }

    /// The calls that are decided in turns, as agent and tool, where there are so many rules and tools; each hits
    /// one rule, or none where that is the row.
    pub(crate) fn calls(self, rules: usize, tools: usize) -> Vec<(String, String)> {
        let spread = || (0..CALLS).map(|at| at * rules / CALLS);
        match self {
            Self::HitFirst => vec![(agent_name(0), tool_name(0))],
            Self::HitLast => vec![(agent_name(0), tool_name(rules.min(tools) - 1))],
            Self::NoneHit => vec![(agent_name(0), "unruled".to_owned())],
            Self::ToolGlobs => {
                let numbers = (0..CALLS).map(|at| at * rules.min(tools) / CALLS);
                numbers.map(|number| (agent_name(number), tool_name(number))).collect()
            }
            Self::AgentsOfOneTool => {
                spread().map(|number| (agent_name(number), tool_name(0))).collect()
            }
            Self::Agents | Self::AgentGlobs | Self::Constraints => {
                spread().map(|number| (agent_name(number), tool_name(number * 7 % tools))).collect()
            }
            Self::Conditions => {
                spread().map(|number| (agent_name(number), tool_name(number % tools))).collect()
            }
        }
    }
}

/// The name of a tool, and beyond the catalog one that could come.
pub(crate) fn any_tool(number: usize) -> String {
    if number < TOOLS { tool_name(number) } else { format!("tool_to_come_{number:06}") }
}

pub(crate) fn agent_name(number: usize) -> String {
    format!("agent-{number:06}")
}

pub(crate) fn tool_name(number: usize) -> String {
    format!("tool_{number:05}")
}

/// Policy files with the rules of one row, each small enough to be read.
pub(crate) fn policies(row: Row, rules: usize) -> Vec<String> {
    const OF_ONE_FILE: usize = 5_000;
    let numbers: Vec<usize> = (0..rules).collect();
    let file = |numbers: &[usize]| {
        let rules: Vec<String> = numbers.iter().map(|number| row.rule(*number)).collect();
        format!("rules:\n{}\n", rules.join("\n"))
    };
    numbers.chunks(OF_ONE_FILE).map(file).collect()
}

/// Manifests with so many tools, and one besides that no rule is about.
pub(crate) fn manifests(tools: usize) -> Vec<String> {
    let numbers: Vec<usize> = (0..tools).collect();
    let tool = |name: &str| {
        format!(
            "- {{ name: {name}, description: d, run: [x], attributes: {{ action_type: write }}, input_schema: \
             {{ type: object, properties: {{ replicas: {{ type: integer }}, name: {{ type: string }} }} }} }}"
        )
    };
    let mut files: Vec<String> = numbers
        .chunks(OF_ONE_BACKEND)
        .enumerate()
        .map(|(backend, numbers)| {
            let tools: Vec<String> = numbers.iter().map(|it| tool(&tool_name(*it))).collect();
            file(&format!("b{backend}"), &tools)
        })
        .collect();
    files.push(file("besides", &[tool("unruled")]));
    files
}

fn file(backend: &str, tools: &[String]) -> String {
    format!(
        "backend: {{ name: {backend}, command: {{ program: p }} }}\ntools:\n{}\n",
        tools.join("\n")
    )
}
