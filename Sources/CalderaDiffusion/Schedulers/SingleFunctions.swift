import Foundation

/// The functions in single precision with which diffusers computes noise levels: each result is the number nearest to the
/// exact one.
///
/// Torch on x86 takes them from Intel MKL's vector library (`vmsSqrt`, `vmsLn` and `vmsExp`, called in ATen/cpu/vml.h),
/// which misses the nearest number by one here and there, and for other arguments on other CPUs. Of a million roots,
/// logarithms and exponentials (torch 2.15 with MKL 2024.2; 0-d tensors, long ones and every ATEN_CPU_CAPABILITY alike):
///
/// | MKL's functions for | roots | logarithms | exponentials |
/// | --- | --- | --- | --- |
/// | AVX-512 | 6232 | 180 | 10926 |
/// | AVX2 | 0 | 52035 | 40979 |
/// | older CPUs and AMD's | 198232 | 56508 | 10083 |
///
/// Two schedulers magnify that digit, so that one build of torch differs from itself there: DPM++ SDE by up to 3e-3 of the
/// latents, DPM2 ancestral by up to 5e-4 when it takes two steps with linspace spacing. No source of MKL's is published;
/// the nearest numbers are closest to AVX-512's, and give every run of DPM2 ancestral as AVX2 and AVX-512 do.
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
