#include "frames.hpp"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>

#ifdef WITH_OPENCV
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>
#include <opencv2/videoio.hpp>
#endif

namespace fs = std::filesystem;

namespace {

constexpr int MOST_PIXELS = 1 << 26;

#ifdef WITH_OPENCV
const std::vector<std::string> PICTURES{
    ".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".webp"};
constexpr const char *NAMES = "BMP, JPEG, PGM, PNG, PPM or WebP";

void copy(const cv::Mat &bgr, Frame &frame)
{
    cv::Mat rgb;
    cv::cvtColor(bgr, rgb, cv::COLOR_BGR2RGB);
    frame.rows = rgb.rows;
    frame.columns = rgb.cols;
    frame.rgb.assign(rgb.datastart, rgb.dataend);
}

void read_picture(const fs::path &path, Frame &frame)
{
    cv::Mat bgr = cv::imread(path.string(), cv::IMREAD_COLOR);
    if (bgr.empty())
        throw Mistake(path.string() + ": not a picture that can be read");
    copy(bgr, frame);
}

class Captured : public Source {
public:
    Captured(cv::VideoCapture capture, bool live) : capture_(std::move(capture)), live_(live) {}
    bool next(Frame &frame) override
    {
        cv::Mat bgr;
        if (!capture_.read(bgr))
            return false;
        copy(bgr, frame);
        frame.name = "frame " + std::to_string(number_++);
        return true;
    }
    bool live() const override { return live_; }

private:
    cv::VideoCapture capture_;
    bool live_;
    long number_ = 0;
};
#else
const std::vector<std::string> PICTURES{".pgm", ".ppm"};
constexpr const char *NAMES = "PPM or PGM (this program was built without OpenCV)";

// Read the next number of a PPM file's header.
int header_number(std::istream &file)
{
    file >> std::ws;
    while (file.peek() == '#') {
        std::string comment;
        std::getline(file, comment);
        file >> std::ws;
    }
    int value = -1;
    file >> value;
    return value;
}

void read_picture(const fs::path &path, Frame &frame)
{
    std::ifstream file(path, std::ios::binary);
    std::string magic(2, ' ');
    file.read(magic.data(), 2);
    const int columns = header_number(file), rows = header_number(file), most = header_number(file);
    file.get(); // skip the single whitespace character before the pixels
    const bool grey = magic == "P5";
    if (!file || !(grey || magic == "P6") || columns < 1 || rows < 1 || most != 255 ||
        columns > MOST_PIXELS / rows)
        throw Mistake(path.string() + ": not a binary PPM or PGM picture of 8 bits");
    frame.rows = rows;
    frame.columns = columns;
    const std::size_t pixels = static_cast<std::size_t>(rows) * columns;
    frame.rgb.resize(pixels * 3);
    const std::size_t bytes = grey ? pixels : pixels * 3;
    file.read(reinterpret_cast<char *>(frame.rgb.data()), static_cast<std::streamsize>(bytes));
    if (static_cast<std::size_t>(file.gcount()) != bytes)
        throw Mistake(path.string() + ": the file ends within the picture");
    for (std::size_t i = pixels; grey && i-- > 0;)
        std::fill_n(frame.rgb.begin() + static_cast<std::ptrdiff_t>(3 * i), 3, frame.rgb[i]);
}
#endif

class Folder : public Source {
public:
    explicit Folder(const fs::path &folder)
    {
        if (!fs::is_directory(folder))
            throw Mistake(folder.string() + ": no such folder");
        for (const auto &entry : fs::directory_iterator(folder)) {
            std::string kind = entry.path().extension().string();
            std::transform(kind.begin(), kind.end(), kind.begin(),
                [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
            if (std::find(PICTURES.begin(), PICTURES.end(), kind) != PICTURES.end())
                files_.push_back(entry.path());
        }
        if (files_.empty())
            throw Mistake(folder.string() + ": no pictures there: " + NAMES);
        std::sort(files_.begin(), files_.end());
    }
    bool next(Frame &frame) override
    {
        if (at_ == files_.size())
            return false;
        read_picture(files_[at_], frame);
        frame.name = files_[at_++].filename().string();
        return true;
    }

private:
    std::vector<fs::path> files_;
    std::size_t at_ = 0;
};

// Planar frames: the luma plane, then two chroma planes with a quarter of the pixels each.
class Yuv420 : public Source {
public:
    Yuv420(int columns, int rows) : columns_(columns), rows_(rows)
    {
        planes_.resize(static_cast<std::size_t>(columns) * rows * 3 / 2);
    }
    bool next(Frame &frame) override
    {
        const std::size_t got = std::fread(planes_.data(), 1, planes_.size(), stdin);
        if (got == 0)
            return false;
        if (got != planes_.size())
            throw Mistake("standard input ends within a frame: is the size right?");
        frame.rows = rows_;
        frame.columns = columns_;
        frame.rgb.resize(static_cast<std::size_t>(columns_) * rows_ * 3);
        const std::uint8_t *luma = planes_.data(), *u = luma + columns_ * rows_;
        const std::uint8_t *v = u + columns_ * rows_ / 4;
        for (int y = 0; y < rows_; y++)
            for (int x = 0; x < columns_; x++) {
                const int colour = y / 2 * (columns_ / 2) + x / 2, at = y * columns_ + x;
                rgb_of_yuv(luma[at], u[colour], v[colour], &frame.rgb[3 * static_cast<std::size_t>(at)]);
            }
        frame.name = "frame " + std::to_string(number_++);
        return true;
    }
    bool live() const override { return true; }

private:
    int columns_, rows_;
    long number_ = 0;
    std::vector<std::uint8_t> planes_;
};

} // namespace

void rgb_of_yuv(int y, int u, int v, std::uint8_t *rgb)
{
    const int light = 298 * (y - 16), blue = u - 128, red = v - 128;
    const int mixed[3] = {light + 409 * red, light - 100 * blue - 208 * red, light + 516 * blue};
    for (int i = 0; i < 3; i++)
        rgb[i] = static_cast<std::uint8_t>(std::clamp((mixed[i] + 128) / 256, 0, 255));
}

std::unique_ptr<Source> open_folder(const std::string &path)
{
    return std::make_unique<Folder>(path);
}

std::unique_ptr<Source> open_yuv420(int columns, int rows)
{
    if (columns < 2 || rows < 2 || columns % 2 || rows % 2 || columns > MOST_PIXELS / rows)
        throw Mistake("--yuv420 takes even numbers, such as 320x240");
    return std::make_unique<Yuv420>(columns, rows);
}

std::unique_ptr<Source> open_clip(const std::string &path)
{
#ifdef WITH_OPENCV
    cv::VideoCapture capture(path);
    if (!capture.isOpened())
        throw Mistake(path + ": not a clip that OpenCV can read");
    return std::make_unique<Captured>(std::move(capture), false);
#else
    throw Mistake(path + ": a clip needs OpenCV, and this program was built without it;"
        " --folder and --yuv420 need none");
#endif
}

std::unique_ptr<Source> open_camera(int index)
{
#ifdef WITH_OPENCV
    cv::VideoCapture capture(index);
    if (!capture.isOpened())
        throw Mistake("camera " + std::to_string(index) + ": OpenCV finds none there");
    return std::make_unique<Captured>(std::move(capture), true);
#else
    return open_v4l2(index);
#endif
}
