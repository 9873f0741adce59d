//! Which system calls a confined program may not make: answered with an error, never with a signal, so that
//! programs which only try do without.

use std::collections::BTreeMap;

use nix::libc::{self, c_long};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, apply_filter, sock_filter,
};

use super::plan::Plan;

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Other processes, other views of the machine, the kernel itself, and ways around the rules for files.
const NEVER: [c_long; 59] = [
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_adjtimex,
    libc::SYS_bpf,
    libc::SYS_chroot,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_fanotify_init,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_finit_module,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kcmp,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_move_pages,
    libc::SYS_migrate_pages,
    libc::SYS_name_to_handle_at,
    libc::SYS_nfsservctl,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_personality,
    libc::SYS_pidfd_getfd,
    libc::SYS_pivot_root,
    libc::SYS_process_madvise,
    libc::SYS_process_mrelease,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setdomainname,
    libc::SYS_sethostname,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
    // System V IPC and POSIX queues have no owner that the rules know, and reach whoever has the same user.
    libc::SYS_msgget,
    libc::SYS_semget,
    libc::SYS_shmget,
    libc::SYS_mq_open,
];

/// What only x86-64 has.
#[cfg(target_arch = "x86_64")]
const NEVER_HERE: [c_long; 4] =
    [libc::SYS_ioperm, libc::SYS_iopl, libc::SYS_modify_ldt, libc::SYS_uselib];
#[cfg(not(target_arch = "x86_64"))]
const NEVER_HERE: [c_long; 0] = [];

/// What changes modes, owners and extended attributes of files by their path; by an open file it may.
const CHMOD: [c_long; 7] = [
    libc::SYS_fchmodat,
    libc::SYS_fchmodat2,
    libc::SYS_fchownat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
];
/// `setxattrat` and `removexattrat` of Linux 6.13, the same on every machine.
const CHMOD_NEW: [c_long; 2] = [463, 466];
#[cfg(target_arch = "x86_64")]
const CHMOD_HERE: [c_long; 3] = [libc::SYS_chmod, libc::SYS_chown, libc::SYS_lchown];
#[cfg(not(target_arch = "x86_64"))]
const CHMOD_HERE: [c_long; 0] = [];

/// What makes connections of sockets, which a program without network has only in pairs of its own.
const NETWORK: [c_long; 5] =
    [libc::SYS_accept, libc::SYS_accept4, libc::SYS_bind, libc::SYS_connect, libc::SYS_listen];

/// What sends a signal.
const SIGNALS: [c_long; 6] = [
    libc::SYS_kill,
    libc::SYS_pidfd_send_signal,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_tgkill,
    libc::SYS_tkill,
];

/// The flags of `clone` that make namespaces.
const NAMESPACES: [c_long; 7] = [
    libc::CLONE_NEWCGROUP as c_long,
    libc::CLONE_NEWIPC as c_long,
    libc::CLONE_NEWNET as c_long,
    libc::CLONE_NEWNS as c_long,
    libc::CLONE_NEWPID as c_long,
    libc::CLONE_NEWUSER as c_long,
    libc::CLONE_NEWUTS as c_long,
];
/// The bits of a socket's type that say what it is.
const TYPE_MASK: u64 = 0xf;

/// Applies the filters to this process and all that it starts.
///
/// # Errors
/// In words, when the kernel does not take them.
pub(super) fn confine(plan: &Plan) -> Result<(), String> {
    let failed = |error: &dyn std::fmt::Display| format!("seccomp: {error}");
    let refused = refused(plan).map_err(|error| failed(&error))?;
    // The flags of `clone3` are in memory, where no filter sees them: C libraries then use `clone`.
    let absent = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let absent = program(absent, libc::ENOSYS).map_err(|error| failed(&error))?;
    let applied = apply_filter(&refused).and_then(|()| apply_filter(&absent));
    applied.map_err(|error| failed(&error))
}

fn refused(plan: &Plan) -> Result<BpfProgram, BackendError> {
    let mut rules: Rules = BTreeMap::new();
    let mut never = |calls: &[c_long]| rules.extend(calls.iter().map(|call| (*call, Vec::new())));
    never(&NEVER);
    never(&NEVER_HERE);
    if !plan.chmod {
        never(&CHMOD);
        never(&CHMOD_NEW);
        never(&CHMOD_HERE);
    }
    if plan.no_signals {
        never(&SIGNALS);
    }
    if plan.network {
        rules.insert(libc::SYS_socket, sockets()?);
    } else {
        never(&NETWORK);
        never(&[libc::SYS_socket]);
    }
    // A pair of datagrams could be connected anew, to a socket that is a file.
    let datagrams = SeccompCmpOp::MaskedEq(TYPE_MASK);
    let datagrams = condition(1, datagrams, libc::SOCK_DGRAM.cast_unsigned().into())?;
    rules.insert(libc::SYS_socketpair, vec![SeccompRule::new(vec![datagrams])?]);
    let namespaces = NAMESPACES.iter().map(|flag| {
        let flag = flag.cast_unsigned();
        SeccompRule::new(vec![condition(0, SeccompCmpOp::MaskedEq(flag), flag)?])
    });
    rules.insert(libc::SYS_clone, namespaces.collect::<Result<_, _>>()?);
    // A terminal, were there one, could be typed into.
    let typing = condition(1, SeccompCmpOp::Eq, libc::TIOCSTI)?;
    rules.insert(libc::SYS_ioctl, vec![SeccompRule::new(vec![typing])?]);
    program(rules, libc::EPERM)
}

/// Every socket but those of the internet, and raw ones.
fn sockets() -> Result<Vec<SeccompRule>, BackendError> {
    let no_internet = vec![
        condition(0, SeccompCmpOp::Ne, libc::AF_INET.cast_unsigned().into())?,
        condition(0, SeccompCmpOp::Ne, libc::AF_INET6.cast_unsigned().into())?,
    ];
    let raw =
        condition(1, SeccompCmpOp::MaskedEq(TYPE_MASK), libc::SOCK_RAW.cast_unsigned().into())?;
    Ok(vec![SeccompRule::new(no_internet)?, SeccompRule::new(vec![raw])?])
}

fn condition(
    argument: u8,
    compare: SeccompCmpOp,
    with: u64,
) -> Result<SeccompCondition, BackendError> {
    // Flags of `clone` have 64 bits. A family of sockets has 32: one with more is none that is allowed. Types
    // and requests have 32, and what stands above them the kernel does not read.
    let length = if argument == 0 { SeccompCmpArgLen::Qword } else { SeccompCmpArgLen::Dword };
    SeccompCondition::new(argument, length, compare, with)
}

fn program(rules: Rules, errno: i32) -> Result<BpfProgram, BackendError> {
    let answer = SeccompAction::Errno(errno.cast_unsigned());
    let here = std::env::consts::ARCH.try_into()?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, answer, here)?;
    let filter: BpfProgram = filter.try_into()?;
    Ok([no_x32(), filter].concat())
}

/// The numbers of the x32 interface are those of x86-64 with one more bit, and would pass every rule.
#[cfg(target_arch = "x86_64")]
fn no_x32() -> BpfProgram {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    const X32: u32 = 0x4000_0000;
    let refuse = libc::SECCOMP_RET_ERRNO | libc::EPERM.cast_unsigned();
    vec![
        sock_filter { code: LOAD, jt: 0, jf: 0, k: 0 },
        sock_filter { code: AT_LEAST, jt: 0, jf: 1, k: X32 },
        sock_filter { code: RETURN, jt: 0, jf: 0, k: refuse },
    ]
}

#[cfg(not(target_arch = "x86_64"))]
fn no_x32() -> BpfProgram {
    Vec::<sock_filter>::new()
}
