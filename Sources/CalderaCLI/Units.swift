import Foundation

/// Numbers for people, the same in every locale.
enum Units {
    /// A decimal number with this many digits after the point.
    static func fixed(_ value: Double, digits: Int) -> String {
        String(format: "%.\(digits)f", value)
    }

    /// Bytes in the binary unit that fits: "1.5 GiB".
    static func bytes(_ count: Int) -> String {
        let names = ["KiB", "MiB", "GiB", "TiB"]
        guard count >= 1024 else { return "\(count) bytes" }
        var value = Double(count) / 1024
        var index = 0
        while value >= 1023.95 && index + 1 < names.count {
            value /= 1024
            index += 1
        }
        return "\(fixed(value, digits: 1)) \(names[index])"
    }

    /// A count with its unit of thousands: "123.7 M".
    static func count(_ count: Int) -> String {
        switch count {
        case ..<1_000: "\(count)"
        case ..<999_950: "\(fixed(Double(count) / 1e3, digits: 1)) k"
        case ..<999_950_000: "\(fixed(Double(count) / 1e6, digits: 1)) M"
        default: "\(fixed(Double(count) / 1e9, digits: 2)) G"
        }
    }

    /// Seconds as "5 s", "1 min 5 s" or "2 h 3 min".
    static func duration(_ seconds: Double) -> String {
        // What does not fit an Int any more is not worth telling apart.
        let whole = Int(min(max(seconds, 0), 1e9).rounded(.up))
        if whole < 60 { return "\(whole) s" }
        if whole < 3600 { return "\(whole / 60) min \(whole % 60) s" }
        return "\(whole / 3600) h \(whole % 3600 / 60) min"
    }
}
