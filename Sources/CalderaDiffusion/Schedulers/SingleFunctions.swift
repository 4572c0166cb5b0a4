import Foundation

/// The functions in single precision with which diffusers computes noise levels: each result is the number nearest to the
/// exact one.
///
/// Torch on x86 takes them from Intel MKL's vector library (`vmsSqrt`, `vmsLn` and `vmsExp` in ATen/cpu/vml.h), which
/// misses the nearest number by one here and there, for other arguments on each kind of CPU: in a million arguments,
/// 198232 roots, 56508 logarithms and 10083 exponentials where MKL finds no CPU of Intel's, 0, 52035 and 40979 on one with
/// AVX2, 6232, 180 and 10926 with AVX-512 (torch 2.15). Two schedulers magnify that digit, so that torch differs from
/// itself there: DPM++ SDE by up to 3e-3 of the latents, DPM2 ancestral by up to 5e-4 in one run of two steps. The nearest
/// number is what AVX-512 finds nearly always, and with it every run of DPM2 ancestral is that of AVX2 and AVX-512.
package struct SingleFunctions: Sendable {
    package enum Name: String, CaseIterable, Sendable {
        case root = "sqrt"
        case logarithm = "log"
        case exponential = "exp"
    }

    /// To which side a result misses the nearest number.
    package enum Miss: String, CaseIterable, Sendable {
        case above
        case below
    }

    package static let nearest = SingleFunctions(misses: [:])

    private let misses: [Name: [Float: Miss]]

    /// - Parameter misses: the arguments for which a build of torch returns the number next to the nearest one.
    package init(misses: [Name: [Float: Miss]]) {
        self.misses = misses
    }

    func root(_ value: Float) -> Float { result(.root, of: value, nearest: value.squareRoot()) }

    func logarithm(_ value: Float) -> Float {
        result(.logarithm, of: value, nearest: Float(log(Double(value))))
    }

    func exponential(_ value: Float) -> Float {
        result(.exponential, of: value, nearest: Float(exp(Double(value))))
    }

    private func result(_ name: Name, of value: Float, nearest: Float) -> Float {
        switch misses[name]?[value] {
        case .above: nearest.nextUp
        case .below: nearest.nextDown
        case nil: nearest
        }
    }
}
