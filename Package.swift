// swift-tools-version: 6.1
import PackageDescription

let package = Package(
    name: "caldera",
    products: [
        .library(name: "Caldera", targets: ["Caldera"]),
        .executable(name: "caldera", targets: ["CalderaCLI"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.5.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.6.0"),
    ],
    targets: [
        // C libraries.
        .target(name: "CVulkan", linkerSettings: [.linkedLibrary("dl")]),
        .target(name: "COneDNN", linkerSettings: [.linkedLibrary("dnnl"), .linkedLibrary("dl")]),
        .target(name: "CVectorMath"),
        .target(name: "CShaderc", linkerSettings: [.linkedLibrary("dl")]),
        .target(name: "CPNG", linkerSettings: [.linkedLibrary("png"), .linkedLibrary("z")]),

        // The engine, from the inside out.
        .target(name: "CalderaGraph"),
        .target(name: "CalderaVulkan", dependencies: ["CVulkan", "CalderaGraph"]),
        .target(
            name: "CalderaGPU", dependencies: ["CalderaGraph", "CalderaVulkan"], plugins: ["CompileShaders"]),
        .target(name: "CalderaCPU", dependencies: ["CalderaGraph", "COneDNN", "CVectorMath"]),
        .target(
            name: "CalderaFormats", dependencies: ["CalderaGraph", "CPNG"], resources: [.copy("Resources/Checkpoints")]),
        .target(name: "CalderaAdapters", dependencies: ["CalderaGraph", "CalderaFormats", "CalderaCPU"]),
        .target(name: "CalderaText", dependencies: ["CalderaGraph"]),
        .target(name: "CalderaTIPO", dependencies: ["CalderaGraph"]),
        .target(name: "CalderaModels", dependencies: ["CalderaGraph"]),
        .target(
            name: "CalderaDiffusion", dependencies: ["CalderaGraph", "CalderaModels", "CalderaText"]),
        .target(
            name: "CalderaLanguage",
            dependencies: ["CalderaGraph", "CalderaModels", "CalderaText", "CalderaDiffusion"]),
        .target(
            name: "Caldera",
            dependencies: [
                "CalderaGraph", "CalderaVulkan", "CalderaGPU", "CalderaCPU", "CalderaFormats",
                "CalderaAdapters", "CalderaText", "CalderaModels", "CalderaDiffusion", "CalderaLanguage",
                "CalderaTIPO",
            ],
            resources: [.copy("Resources/EmbeddedModel"), .copy("Resources/EmbeddedUpsampler")]),
        .target(
            name: "CalderaBench",
            dependencies: [
                "CShaderc", "Caldera", "CalderaCPU", "CalderaDiffusion", "CalderaFormats", "CalderaGPU",
                "CalderaGraph", "CalderaLanguage", "CalderaModels", "CalderaVulkan",
            ]),
        .executableTarget(
            name: "CalderaCLI",
            dependencies: [
                "Caldera", "CalderaAdapters", "CalderaBench", "CalderaDiffusion", "CalderaFormats", "CalderaGraph",
                "CalderaText",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
            ]),

        // Build tools.
        .executableTarget(name: "ShaderCompiler"),
        .plugin(name: "CompileShaders", capability: .buildTool(), dependencies: ["ShaderCompiler"]),

        // Tests.
        .target(
            name: "CalderaTestSupport",
            dependencies: ["CalderaGraph", "CalderaFormats"], path: "Tests/CalderaTestSupport"),
        .testTarget(name: "CalderaGraphTests", dependencies: ["CalderaGraph", "CalderaTestSupport"]),
        .testTarget(name: "CalderaVulkanTests", dependencies: ["CalderaVulkan"]),
        .testTarget(
            name: "OperatorTests", dependencies: ["CalderaGraph", "CalderaCPU", "CalderaGPU", "CalderaTestSupport"]),
        .testTarget(
            name: "CalderaFormatsTests", dependencies: ["CalderaFormats", "CalderaTestSupport"],
            resources: [.copy("Fixtures")]),
        .testTarget(
            name: "CalderaAdaptersTests", dependencies: ["CalderaAdapters", "CalderaTestSupport"],
            resources: [.copy("Fixtures")]),
        .testTarget(
            name: "CalderaTextTests", dependencies: ["CalderaText", "CalderaTestSupport"],
            resources: [.copy("Fixtures")]),
        .testTarget(
            name: "CalderaTIPOTests", dependencies: ["CalderaTIPO", "CalderaTestSupport"],
            resources: [.copy("Fixtures")]),
        .testTarget(
            name: "CalderaDiffusionTests", dependencies: ["CalderaDiffusion", "CalderaTestSupport"],
            resources: [.copy("Fixtures")]),
        .testTarget(
            name: "CalderaModelsTests",
            dependencies: [
                "CalderaModels", "CalderaFormats", "CalderaCPU", "CalderaGPU", "Caldera", "CalderaTestSupport",
            ],
            resources: [.copy("Fixtures")]),
        .testTarget(
            name: "CalderaLanguageTests",
            dependencies: [
                "CalderaLanguage", "CalderaModels", "CalderaFormats", "CalderaCPU", "CalderaGPU", "Caldera",
                "CalderaTestSupport",
            ],
            resources: [.copy("Fixtures")]),
        .testTarget(
            name: "CalderaBenchTests",
            dependencies: [
                "Caldera", "CalderaBench", "CalderaCPU", "CalderaDiffusion", "CalderaGPU", "CalderaVulkan",
                "CalderaTestSupport",
            ]),
        .testTarget(name: "CalderaCLITests", dependencies: ["CalderaGraph", "CalderaFormats", "CalderaTestSupport"]),
    ]
)
