// Sources of frames: a folder, a clip, a camera, or raw frames from a pipe.
#pragma once

#include <csignal>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

struct Frame {
    std::string name;
    int rows = 0, columns = 0;
    std::vector<std::uint8_t> rgb; // [rows][columns][3]
};

extern volatile std::sig_atomic_t ended_by_signal; // set by Ctrl-C

// An error that the user can correct. The text says how.
struct Mistake : std::runtime_error {
    using std::runtime_error::runtime_error;
};

class Source {
public:
    virtual ~Source() = default;
    virtual bool next(Frame &frame) = 0; // returns false after the last frame
    virtual bool live() const { return false; }
};

std::unique_ptr<Source> open_folder(const std::string &path);
std::unique_ptr<Source> open_yuv420(int columns, int rows); // reads standard input
std::unique_ptr<Source> open_clip(const std::string &path); // needs OpenCV
std::unique_ptr<Source> open_camera(int index);             // uses OpenCV, else Video4Linux
std::unique_ptr<Source> open_v4l2(int index);

// Convert a pixel of video, whose luma is 16 to 235 (ITU-R BT.601), to red, green and blue.
void rgb_of_yuv(int y, int u, int v, std::uint8_t *rgb);
