//! Leads responses to the socket of the worker that waits for them: a filter in the kernel reads the worker in our branch, as
//! `hookswitch_sip::placement` does. What it does not recognise comes where the kernel's hash of the addresses leads, and is handed on
//! from there: it saves a hop and decides nothing.

use std::{ffi::c_int, io, net::UdpSocket, ops::Range, os::fd::AsRawFd, ptr};

use hookswitch_sip::placement::BRANCH_COOKIE;
use libc::{
    BPF_ABS, BPF_ADD, BPF_ALU, BPF_B, BPF_IMM, BPF_IND, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_LD,
    BPF_LDX, BPF_LEN, BPF_LSH, BPF_MEM, BPF_RET, BPF_ST, BPF_SUB, BPF_W, BPF_X, sock_filter,
    sock_fprog, socklen_t,
};

/// `asm-generic/socket.h`.
const SO_ATTACH_REUSEPORT_CBPF: c_int = 51;
/// The return value, of a register.
const BPF_A: u32 = 0x10;
/// No socket has this number: as without a filter.
const ANY: u32 = u32::MAX;
/// Where the last four bytes of the cookie may begin: behind the shortest status line and Via, before the longest that are looked for.
const COOKIE_ENDS_AT: Range<u32> = 40..150;

/// For the sockets of one listener, bound in the order of their workers.
///
/// # Errors
/// What the kernel says: it is older than 4.5, or grants a socket less memory for options (`net.core.optmem_max`) than this takes.
pub(super) fn responses(sockets: &[UdpSocket]) -> io::Result<()> {
    let Some(first) = sockets.first() else {
        return Ok(());
    };
    let mut program = program();
    let attached = sock_fprog {
        len: u16::try_from(program.len()).map_err(io::Error::other)?,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the kernel copies the program, which outlives the call; the last argument is the size of what the one before points to.
    #[allow(unsafe_code)]
    let result = unsafe {
        libc::setsockopt(
            first.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_ATTACH_REUSEPORT_CBPF,
            ptr::from_ref(&attached).cast(),
            size_of::<sock_fprog>() as socklen_t,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Returns the number of a socket, from 0 in the order in which they were bound. A load beyond the datagram would return 0, so its length comes
/// first.
fn program() -> Vec<sock_filter> {
    let mut program = vec![
        op(BPF_LD | BPF_W | BPF_LEN, 0),
        test(BPF_JGE, COOKIE_ENDS_AT.end + 6, 1, 0),
        op(BPF_RET, ANY),
        op(BPF_LD | BPF_W | BPF_ABS, 0),
        test(BPF_JEQ, u32::from_be_bytes(*b"SIP/"), 1, 0),
        op(BPF_RET, ANY),
    ];
    let cookie = BRANCH_COOKIE
        .as_bytes()
        .last_chunk()
        .map_or(0, |end| u32::from_be_bytes(*end));
    for at in COOKIE_ENDS_AT {
        let steps_left = 4 * (COOKIE_ENDS_AT.end - 1 - at);
        program.extend([
            op(BPF_LD | BPF_W | BPF_ABS, at),
            test(BPF_JEQ, cookie, 0, 2),
            op(BPF_LDX | BPF_IMM, at + 4),
            op(BPF_JMP | BPF_JA, steps_left + 1),
        ]);
    }
    program.push(op(BPF_RET, ANY));
    program.extend(digit(0));
    program.extend([op(BPF_ALU | BPF_LSH, 4), op(BPF_ST, 0)]);
    program.extend(digit(1));
    program.extend([
        op(BPF_LDX | BPF_MEM, 0),
        op(BPF_ALU | BPF_ADD | BPF_X, 0),
        op(BPF_RET | BPF_A, 0),
    ]);
    program
}

/// Loads the value of a hexadecimal digit, `index` bytes behind the cookie.
fn digit(index: u32) -> [sock_filter; 4] {
    let (zero, a) = (u32::from(b'0'), u32::from(b'a'));
    [
        op(BPF_LD | BPF_B | BPF_IND, index),
        test(BPF_JGE, a, 0, 1),
        op(BPF_ALU | BPF_SUB, a - 10 - zero),
        op(BPF_ALU | BPF_SUB, zero),
    ]
}

fn op(code: u32, k: u32) -> sock_filter {
    sock_filter {
        code: code as u16,
        jt: 0,
        jf: 0,
        k,
    }
}

/// Skips so many steps if it holds, and if it does not.
fn test(comparison: u32, k: u32, holds: u8, fails: u8) -> sock_filter {
    sock_filter {
        jt: holds,
        jf: fails,
        ..op(BPF_JMP | comparison, k)
    }
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, thread, time::Duration};

    use socket2::Type;

    use super::*;
    use crate::transport::{Sockets, bind_all};

    const WORKERS: u8 = 20;

    fn sockets() -> Vec<UdpSocket> {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        match bind_all(any, Type::DGRAM, WORKERS).unwrap() {
            Sockets::Udp(sockets) => sockets,
            Sockets::Tcp(_) => panic!("not asked for"),
        }
    }

    /// The socket that a datagram comes to.
    fn reached(sockets: &[UdpSocket], sender: &UdpSocket, text: &str) -> usize {
        let to = sockets[0].local_addr().unwrap();
        sender.send_to(text.as_bytes(), to).unwrap();
        for _ in 0..5_000 {
            let got = |socket: &UdpSocket| socket.recv(&mut [0; 2048]).is_ok();
            if let Some(index) = sockets.iter().position(got) {
                return index;
            }
            thread::sleep(Duration::from_millis(1));
        }
        panic!("it came nowhere");
    }

    fn message(start: &str, host: &str, branch: &str) -> String {
        let tail = "Max-Forwards: 70\r\n".repeat(8);
        format!("{start}\r\nVia: SIP/2.0/UDP {host};branch={branch}\r\n{tail}\r\n")
    }

    #[test]
    fn a_response_comes_to_the_worker_that_its_branch_names() {
        let sockets = sockets();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        for (start, host) in [
            ("SIP/2.0 200 ", "a"),
            ("SIP/2.0 200 OK", "192.0.2.1:5060"),
            (
                "SIP/2.0 481 Call/Transaction Does Not Exist",
                "[2001:db8::a:1]:5060;rport",
            ),
        ] {
            for worker in 0..WORKERS {
                let branch = format!("{BRANCH_COOKIE}{worker:02x}{:026x}", 1);
                let text = message(start, host, &branch);
                assert_eq!(
                    reached(&sockets, &sender, &text),
                    usize::from(worker),
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn everything_else_comes_where_the_addresses_lead() {
        let sockets = sockets();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let usual = reached(
            &sockets,
            &sender,
            &message("OPTIONS sip:a SIP/2.0", "h", "z9hG4bKa"),
        );
        let ours = |worker: &str| format!("{BRANCH_COOKIE}{worker}{:026x}", 1);
        for text in [
            String::new(),
            "\r\n\r\n".to_owned(),
            "SIP/2.0 200 OK\r\n\r\n".to_owned(),
            message("OPTIONS sip:a SIP/2.0", "h", &ours("03")),
            message("SIP/2.0 200 OK", "h", "z9hG4bKother"),
            message("SIP/2.0 200 OK", "h", &ours("ff")),
            message("SIP/2.0 200 OK", "h", &ours("zz")),
            message("SIP/2.0 200 OK", &"h".repeat(200), &ours("03")),
        ] {
            assert_eq!(reached(&sockets, &sender, &text), usual, "{text}");
        }
    }
}
