import CalderaFormats
import Foundation

/// Ends the program at once on Ctrl-C (SIGINT) or SIGTERM, whatever the other threads are computing, and leaves no half
/// file behind.
///
/// The two signals are blocked in every thread and taken by one thread that waits for them. It runs as ordinary code,
/// not in a signal context, so it may take locks and delete files.
enum Interrupts {
    /// Must run before any other thread is made: threads inherit the signal mask of the one that made them.
    static func install() {
        // A reader that goes away and a file that grows past its limit (`ulimit -f`) become errors of `write`.
        signal(SIGPIPE, SIG_IGN)
        signal(SIGXFSZ, SIG_IGN)
        let signals = awaited
        withUnsafePointer(to: signals) { _ = pthread_sigmask(SIG_BLOCK, $0, nil) }
        Thread.detachNewThread { wait(for: signals) }
    }

    private static var awaited: sigset_t {
        var set = sigset_t()
        sigemptyset(&set)
        sigaddset(&set, SIGINT)
        sigaddset(&set, SIGTERM)
        return set
    }

    private static func wait(for signals: sigset_t) {
        var signals = signals
        var received: Int32 = 0
        while sigwait(&signals, &received) != 0 {}
        let newline = StandardStreams.errorIsTerminal ? "\n" : ""
        StandardStreams.report(newline + "caldera: \(received == SIGINT ? "interrupted" : "terminated")")
        AtomicFile.removePending()
        // Without the exit handlers, which would wait for the threads that still compute, or take away what they use.
        _exit(ExitStatus.interrupted(by: received))
    }
}
