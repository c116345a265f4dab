//! Having the server read its configuration files.
use super::super::context::Context;
use super::super::exit::Failure;
use super::super::output::tell;
use pgsteward::ReloadOutcome;

pub(crate) fn run(context: &Context) -> Result<(), Failure> {
    if context.is_planning() {
        return context.change("", |cluster| cluster.reload().map(drop));
    }
    let failed = |why: &str| {
        Err(Failure::Error(pgsteward::Error::Connection {
            action: "reload the configuration".into(),
            reason: why.into(),
        }))
    };
    match context.cluster.reload()? {
        ReloadOutcome::Taken => context.output.say("the configuration was read, and all of it was taken"),
        ReloadOutcome::Unchecked => {
            context.output.say("the configuration was read; whether all of it was taken, this role may not see");
        }
        ReloadOutcome::NotRead => return failed("the server has not read it within five seconds"),
        ReloadOutcome::Faulty(faults) => {
            for fault in &faults {
                let place = fault.file.as_deref().unwrap_or("the configuration");
                let line = fault.line.map_or(String::new(), |line| format!(", line {line}"));
                let setting = fault.setting.as_deref().map_or(String::new(), |name| format!(", {name}"));
                tell(&format!("{place}{line}{setting}: {}", fault.error));
            }
            return Err(Failure::Said);
        }
        _ => {}
    }
    Ok(())
}
